"""A program that dies where it hurts most, however fast the machine is."""


def killed_when_it_saves(module: str, save: int) -> str:
    """Return the text of a program: the `main` of a module, killed with SIGKILL in the midst of a save.

    Args:
        module: One that calls `os.fsync` once in each save.
        save: Which one it does not survive, from 1.
    """
    return (
        f"import itertools, os; from {module} import main; saves, sync = itertools.count(1), os.fsync\n"
        f"os.fsync = lambda file: os.kill(os.getpid(), 9) if next(saves) == {save} else sync(file)\n"
        "main()"
    )
