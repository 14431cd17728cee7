"""The model card of a bundle, written from its manifest so that the two cannot disagree."""

from __future__ import annotations

from service.bundle import Manifest

_DATA = """\
Trained on public English-French and English-Spanish sentence pairs: debates of the European and the
Canadian Parliament (Europarl: reuse with acknowledgement; ISI Hansards: permission notice of the
Parliament of Canada), WMT news sets 2008-2011 and News Commentary v11 (research use), Tatoeba (CC BY 2.0
FR), United Nations documents (UN Parallel Corpus terms), public-domain books, web prose and guides
(CC BY, CC BY-SA, MPL), university textbooks (CC BY 4.0), software documentation (CC BY, CC BY-SA, BSD,
Apache, GPL) and public terminologies (EU reuse, Open Government Licence - Canada).

The code is under Apache-2.0. The weights were computed from texts under the terms above, some of which
allow research use only: check them against yours before commercial use."""


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown."""
    training, shape = manifest.training, manifest.shape
    lines = [
        f"# {manifest.name}@{manifest.version}",
        "",
        f"A Transformer encoder-decoder ({shape['encoder_layers']} + {shape['decoder_layers']} layers, width "
        f"{shape['width']}, {manifest.num_parameters / 1e6:.1f} M parameters, {manifest.precision}) that translates "
        + ", ".join(f"{source} → {target}" for source, target in manifest.pairs)
        + ".",
        "",
        "## Training",
        "",
        f"{training['target_tokens']:,} target tokens in {training['updates']:,} updates, {training['hours']} hours.",
        "The whole configuration stands in `manifest.json`.",
        "",
        "## Data and licences",
        "",
        _DATA,
        "",
        "## Scores",
        "",
    ]
    if not manifest.scores:
        return "\n".join([*lines, "Not measured.", ""])
    lines += ["Measured through the engine that serves, greedy search, sacrebleu.", ""]
    lines += ["| set | direction | BLEU | chrF |", "|---|---|--:|--:|"]
    for name, directions in manifest.scores.items():
        for direction, score in directions.items():
            lines.append(f"| {name} | {direction} | {score['bleu']:.1f} | {score['chrf']:.1f} |")
    return "\n".join([*lines, ""])
