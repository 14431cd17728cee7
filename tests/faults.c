/* Makes the system fail where a test says so: memory, opening, reading, threads.

Preloaded into a server (LD_PRELOAD). What shall fail stands in a file that test and server map
(FAULTS_CONTROL): of each kind, how many calls succeed before, and how many fail then. Only files below a given
folder count, or the interpreter would fail in its own imports. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY, OPEN, READ, THREAD, KINDS };

struct control {
  long before[KINDS];  /* calls that succeed yet; counts on below 0 */
  long failing[KINDS]; /* calls that fail then; 0: the kind is not armed */
  long seen[KINDS];    /* calls since the start */
  long failed[KINDS];
  long min_bytes; /* smaller pieces of memory do not count */
  long hangs;     /* not 0: reading waits instead of failing */
  char folder[256];
};

static struct control idle;
static struct control *control = &idle;
static unsigned char is_ours[65536]; /* by descriptor: of a file below the folder */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULTS_CONTROL");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(file);
}

static int fails(int kind) {
  __sync_fetch_and_add(&control->seen[kind], 1);
  long failing = control->failing[kind];
  if (!failing) return 0;
  long left = __sync_fetch_and_sub(&control->before[kind], 1);
  if (left > 0 || left <= -failing) return 0;
  __sync_fetch_and_add(&control->failed[kind], 1);
  return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Memory */

static int no_memory(size_t size) {
  if (size < (size_t)control->min_bytes || !fails(MEMORY)) return 0;
  errno = ENOMEM;
  return 1;
}

void *malloc(size_t size) { return no_memory(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) {
  return no_memory(count * size) ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) { return no_memory(size) ? NULL : __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) {
  return no_memory(size) ? NULL : __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  return no_memory(size) ? NULL : __libc_memalign(alignment, size);
}
int posix_memalign(void **result, size_t alignment, size_t size) {
  void *found = no_memory(size) ? NULL : __libc_memalign(alignment, size);
  if (!found) return ENOMEM;
  *result = found;
  return 0;
}

#define MMAP(name, offset_type)                                                               \
  void *name(void *address, size_t size, int protection, int flags, int file, offset_type o) { \
    static __typeof__(&name) next;                                                            \
    if (!next) next = NEXT(name);                                                             \
    if ((flags & MAP_ANONYMOUS) && no_memory(size)) return MAP_FAILED;                        \
    return next(address, size, protection, flags, file, o);                                   \
  }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t) /* the interpreter's arenas */

/* Files */

static int counts(const char *path) {
  size_t length = strlen(control->folder);
  return length && !strncmp(path, control->folder, length);
}

static int opened(int file, int ours) {
  if (file >= 0 && file < (int)sizeof is_ours) is_ours[file] = ours;
  return file;
}

static mode_t mode_of(int flags, va_list rest) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name, parameters, arguments)                      \
  int name parameters {                                        \
    static __typeof__(&name) next;                             \
    if (!next) next = NEXT(name);                              \
    va_list rest;                                              \
    va_start(rest, flags);                                     \
    mode_t mode = mode_of(flags, rest);                        \
    va_end(rest);                                              \
    int ours = counts(path);                                   \
    if (ours && fails(OPEN)) return errno = EMFILE, -1;        \
    return opened(next arguments, ours);                       \
  }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))

#define FOPEN(name)                                                \
  FILE *name(const char *path, const char *mode) {                 \
    static __typeof__(&name) next;                                 \
    if (!next) next = NEXT(name);                                  \
    if (counts(path) && fails(OPEN)) return errno = EMFILE, NULL;  \
    return next(path, mode);                                       \
  }
FOPEN(fopen)
FOPEN(fopen64)

static int cannot_read(int file) {
  if (file < 0 || file >= (int)sizeof is_ours || !is_ours[file]) return 0;
  if (control->hangs) __sync_fetch_and_add(&control->failed[READ], 1);
  while (control->hangs) usleep(10000); /* like a network volume whose server is gone */
  if (!fails(READ)) return 0;
  errno = EIO;
  return 1;
}

ssize_t read(int file, void *buffer, size_t size) {
  static __typeof__(&read) next;
  if (!next) next = NEXT(read);
  return cannot_read(file) ? -1 : next(file, buffer, size);
}

ssize_t pread64(int file, void *buffer, size_t size, off64_t offset) {
  static __typeof__(&pread64) next;
  if (!next) next = NEXT(pread64);
  return cannot_read(file) ? -1 : next(file, buffer, size, offset);
}

/* Threads */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  static __typeof__(&pthread_create) next;
  if (!next) next = NEXT(pthread_create);
  return fails(THREAD) ? EAGAIN : next(thread, attributes, start, argument);
}
