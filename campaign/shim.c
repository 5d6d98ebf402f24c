/* Loaded before libc: counts every call that changes a file below one folder, whoever makes it (Python, SQLite,
 * DuckDB, Delta Lake), and at one of them kills the process, holds it, fails, or writes only a half. It can also keep a list of
 * them all, with what was written and synced. Inactive until `shim_arm` is called.
 *
 * Whoever asks for the time of day (SQLite, DuckDB, Delta Lake, Python) is told it plus CAMPAIGN_CLOCK seconds, given as
 * SECONDS or as SECONDS@MOMENT: from that moment on, which is the same for all processes.
 *
 * Linux, glibc. Calls that glibc makes by itself (fopen) pass it by; test_shim.py compares with what strace sees.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { OFF, NOTE, KILL_BEFORE, KILL_AFTER, KILL_HALF, FAIL, SHORT, HOLD };
enum kind { OPEN = 1, CREATE, WRITE, CUT, RENAME, LINK, UNLINK, MKDIR, RMDIR, SYNC, LOOK, READ, ASK };

#define FILES 4096
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int mode, error_number, lasting, log_handle = -1;
static unsigned kinds;
static long at, steps;
static char known[FILES]; /* 1: opened below the root, 2: to write */

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) { fprintf(stderr, "shim: no %s\n", name); _exit(99); }
    return found;
}

/* Arm the shim in this process: what happens at step `number` (from 0) among the kinds of the mask, below `folder`. */
void shim_arm(const char *folder, int what, long number, int with_errno, int from_then_on, unsigned mask, int log) {
    snprintf(root, sizeof root, "%s/", folder);
    root_length = strlen(root);
    at = number; steps = 0; error_number = with_errno; lasting = from_then_on; kinds = mask; log_handle = log;
    memset(known, 0, sizeof known);
    mode = what;
}

long shim_steps(void) { return steps; }
void shim_disarm(void) { mode = OFF; }

/* The absolute path of `path`; 0 if it is not below the root. */
static int below(int folder, const char *path, char *whole) {
    if (!path) return 0;
    if (path[0] == '/') snprintf(whole, PATH_MAX, "%s", path);
    else {
        char start[PATH_MAX];
        if (folder == AT_FDCWD) { if (!getcwd(start, sizeof start)) return 0; }
        else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, start, sizeof start - 1);
            if (n < 0) return 0;
            start[n] = 0;
        }
        snprintf(whole, PATH_MAX, "%.*s/%s", PATH_MAX / 2, start, path);
    }
    size_t length = strlen(whole); /* the folder itself belongs to what is below it */
    return strncmp(whole, root, root_length) == 0 || (length == root_length - 1 && strncmp(whole, root, length) == 0);
}

struct record { uint8_t kind; uint8_t done; uint16_t first; uint32_t second; uint64_t inode; int64_t offset; } __attribute__((packed));

static void put(const void *data, size_t size) { while (size) { ssize_t n = syscall(SYS_write, log_handle, data, size); if (n <= 0) _exit(98); data = (const char *)data + n; size -= n; } }

static void note(int kind, uint64_t inode, int64_t offset, const char *first, const void *second, size_t size) {
    if (log_handle < 0) return;
    struct record head = {kind, 1, first ? strlen(first) : 0, size, inode, offset};
    put(&head, sizeof head);
    if (first) put(first, head.first);
    if (size) put(second, size);
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* 0: go on; 1: do half of it; -1: fail, errno is set. Called with the mutex held. */
static int step(int kind) {
    if (mode == OFF || !(kinds & (1u << kind))) return 0;
    long mine = steps++;
    if (mode == KILL_BEFORE && mine == at) die();
    if (mode == HOLD && mine == at) syscall(SYS_kill, getpid(), SIGSTOP); /* until SIGCONT */
    if (mode == FAIL && (mine == at || (lasting && mine > at))) { errno = error_number; return -1; }
    if ((mode == SHORT || mode == KILL_HALF) && mine == at) return 1;
    return 0;
}

static void after(int kind) { if (mode == KILL_AFTER && (kinds & (1u << kind)) && steps - 1 == at) { int e = errno; die(); errno = e; } }

static uint64_t inode_of(int handle) { struct stat s; return fstat(handle, &s) ? 0 : s.st_ino; }
static uint64_t inode_at(const char *path, int flags) { /* 0: nothing is there */
    int handle = syscall(SYS_openat, AT_FDCWD, path, O_PATH | O_NOFOLLOW | O_CLOEXEC | flags);
    if (handle < 0) return 0;
    uint64_t found = inode_of(handle);
    syscall(SYS_close, handle);
    return found;
}
static int mine(int handle, int level) { return mode != OFF && handle >= 0 && handle < FILES && known[handle] >= level; }

static int opened(int folder, const char *path, int flags, mode_t permissions) {
    static int (*next)(int, const char *, int, ...);
    if (!next) next = real("openat64");
    char whole[PATH_MAX];
    if (mode == OFF) return next(folder, path, flags, permissions);
    pthread_mutex_lock(&mutex);
    int writes = (flags & O_ACCMODE) != O_RDONLY, handle = -1;
    if (!below(folder, path, whole)) {
        handle = next(folder, path, flags, permissions);
        if (handle >= 0 && handle < FILES) known[handle] = 0;
    } else {
        int is_new = (flags & O_CREAT) && !inode_at(whole, 0);
        int kind = !writes ? LOOK : is_new ? CREATE : OPEN;
        if (step(kind) >= 0) {
            handle = next(folder, path, flags, permissions);
            int e = errno;
            if (handle >= 0 && handle < FILES) {
                known[handle] = 1 + writes;
                if (is_new) note(CREATE, inode_of(handle), 0, whole, 0, 0);
                else if (writes && (flags & O_TRUNC)) note(CUT, inode_of(handle), 0, 0, 0, 0);
            }
            after(kind);
            errno = e;
        }
    }
    int e = errno;
    pthread_mutex_unlock(&mutex);
    errno = e;
    return handle;
}

#define MODE mode_t permissions = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); permissions = va_arg(list, mode_t); va_end(list); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, permissions); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, permissions); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, permissions); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, permissions); }
int creat(const char *path, mode_t permissions) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, permissions); }

DIR *opendir(const char *path) { /* glibc's own opens by itself */
    static DIR *(*next)(const char *);
    if (!next) next = real("opendir");
    char whole[PATH_MAX];
    if (mode == OFF || !below(AT_FDCWD, path, whole)) return next(path);
    pthread_mutex_lock(&mutex);
    DIR *folder = step(LOOK) < 0 ? 0 : next(path);
    int e = errno;
    pthread_mutex_unlock(&mutex);
    errno = e;
    return folder;
}

/* What asks about a path, and opens nothing; without one it is about a handle. */
#define ASKING(folder_, path_, call_) \
    char whole[PATH_MAX]; \
    if (mode == OFF || !(kinds & (1u << ASK)) || !*path_ || !below(folder_, path_, whole)) return call_; \
    pthread_mutex_lock(&mutex); \
    int result = step(ASK) < 0 ? -1 : call_, e = errno; \
    pthread_mutex_unlock(&mutex); \
    errno = e; \
    return result;
static int stated(int folder, const char *path, void *found, int flags) { ASKING(folder, path, syscall(SYS_newfstatat, folder, path, found, flags)) }
int stat(const char *path, struct stat *found) { return stated(AT_FDCWD, path, found, 0); }
int stat64(const char *path, struct stat64 *found) { return stated(AT_FDCWD, path, found, 0); }
int lstat(const char *path, struct stat *found) { return stated(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW); }
int lstat64(const char *path, struct stat64 *found) { return stated(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW); }
int fstatat(int folder, const char *path, struct stat *found, int flags) { return stated(folder, path, found, flags); }
int fstatat64(int folder, const char *path, struct stat64 *found, int flags) { return stated(folder, path, found, flags); }
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *found) { ASKING(folder, path, syscall(SYS_statx, folder, path, flags, mask, found)) }
/* The names of these in what was built with a glibc before 2.33. */
int __xstat(int version, const char *path, struct stat *found) { (void)version; return stated(AT_FDCWD, path, found, 0); }
int __xstat64(int version, const char *path, struct stat64 *found) { (void)version; return stated(AT_FDCWD, path, found, 0); }
int __lxstat(int version, const char *path, struct stat *found) { (void)version; return stated(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW); }
int __lxstat64(int version, const char *path, struct stat64 *found) { (void)version; return stated(AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW); }
int __fxstatat(int version, int folder, const char *path, struct stat *found, int flags) { (void)version; return stated(folder, path, found, flags); }
int __fxstatat64(int version, int folder, const char *path, struct stat64 *found, int flags) { (void)version; return stated(folder, path, found, flags); }
int access(const char *path, int wanted) { ASKING(AT_FDCWD, path, syscall(SYS_faccessat, AT_FDCWD, path, wanted)) }

int close(int handle) {
    if (handle >= 0 && handle < FILES) known[handle] = 0;
    return syscall(SYS_close, handle);
}

static ssize_t transferred(int kind, int handle, void *data, size_t size, off_t offset, int has_offset) {
    long number = kind == READ ? (has_offset ? SYS_pread64 : SYS_read) : has_offset ? SYS_pwrite64 : SYS_write;
    if (!mine(handle, kind == READ ? 1 : 2)) return syscall(number, handle, data, size, offset);
    pthread_mutex_lock(&mutex);
    int what = step(kind), e = errno;
    ssize_t done = -1;
    if (what >= 0) {
        size_t wanted = what == 1 && size > 1 ? size / 2 : size;
        off_t from = has_offset || kind == READ ? offset : (fcntl(handle, F_GETFL) & O_APPEND) ? lseek(handle, 0, SEEK_END) : lseek(handle, 0, SEEK_CUR);
        done = syscall(number, handle, data, wanted, offset);
        e = errno;
        if (kind == WRITE && done > 0) note(WRITE, inode_of(handle), from, 0, data, done);
        if (what == 1 && mode == KILL_HALF) die();
        after(kind);
    }
    pthread_mutex_unlock(&mutex);
    errno = e;
    return done;
}
ssize_t write(int handle, const void *data, size_t size) { return transferred(WRITE, handle, (void *)data, size, 0, 0); }
ssize_t pwrite(int handle, const void *data, size_t size, off_t offset) { return transferred(WRITE, handle, (void *)data, size, offset, 1); }
ssize_t pwrite64(int handle, const void *data, size_t size, off64_t offset) { return transferred(WRITE, handle, (void *)data, size, offset, 1); }

ssize_t read(int handle, void *data, size_t size) { return transferred(READ, handle, data, size, 0, 0); }
ssize_t pread(int handle, void *data, size_t size, off_t offset) { return transferred(READ, handle, data, size, offset, 1); }
ssize_t pread64(int handle, void *data, size_t size, off64_t offset) { return transferred(READ, handle, data, size, offset, 1); }

ssize_t writev(int handle, const struct iovec *parts, int count) {
    if (!mine(handle, 2)) return syscall(SYS_writev, handle, parts, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t n = parts[i].iov_len ? transferred(WRITE, handle, parts[i].iov_base, parts[i].iov_len, 0, 0) : 0;
        if (n < 0) return total ? total : -1;
        total += n;
        if ((size_t)n < parts[i].iov_len) break;
    }
    return total;
}

/* Copies inside the kernel are refused, as on file systems without them: callers then read and write. */
ssize_t sendfile(int to, int from, off_t *offset, size_t size) { if (mine(to, 2)) { errno = EINVAL; return -1; } return syscall(SYS_sendfile, to, from, offset, size); }
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) { if (mine(to, 2)) { errno = EINVAL; return -1; } return syscall(SYS_sendfile, to, from, offset, size); }
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) { if (mine(to, 2)) { errno = ENOSYS; return -1; } return syscall(SYS_copy_file_range, from, a, to, b, size, flags); }

/* A step that is one call on one or two paths. */
#define STEP(kind_, first_, second_, call_) \
    pthread_mutex_lock(&mutex); \
    int result = -1, e; \
    if (step(kind_) >= 0) { \
        result = call_; e = errno; \
        if (result == 0) note(kind_, kind_ == MKDIR ? inode_at(first_, 0) : 0, 0, first_, second_, strlen(second_)); \
        after(kind_); \
    } else e = errno; \
    pthread_mutex_unlock(&mutex); \
    errno = e; \
    return result;

static int named(int f1, const char *p1, int f2, const char *p2, unsigned flags, int kind) {
    char from[PATH_MAX], to[PATH_MAX] = "";
    long number = kind == RENAME ? SYS_renameat2 : SYS_linkat;
    if (mode == OFF || (!below(f1, p1, from) & !below(f2, p2, to))) return syscall(number, f1, p1, f2, p2, flags);
    STEP(kind, from, to, syscall(number, f1, p1, f2, p2, flags))
}
int rename(const char *a, const char *b) { return named(AT_FDCWD, a, AT_FDCWD, b, 0, RENAME); }
int renameat(int f, const char *a, int g, const char *b) { return named(f, a, g, b, 0, RENAME); }
int renameat2(int f, const char *a, int g, const char *b, unsigned flags) { return named(f, a, g, b, flags, RENAME); }
int link(const char *a, const char *b) { return named(AT_FDCWD, a, AT_FDCWD, b, 0, LINK); }
int linkat(int f, const char *a, int g, const char *b, int flags) { return named(f, a, g, b, flags, LINK); }

static int removed(int folder, const char *path, int flags) {
    char whole[PATH_MAX];
    if (mode == OFF || !below(folder, path, whole)) return syscall(SYS_unlinkat, folder, path, flags);
    STEP(flags & AT_REMOVEDIR ? RMDIR : UNLINK, whole, "", syscall(SYS_unlinkat, folder, path, flags))
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) { return removed(AT_FDCWD, path, inode_at(path, O_DIRECTORY) ? AT_REMOVEDIR : 0); }

int mkdirat(int folder, const char *path, mode_t permissions) {
    char whole[PATH_MAX];
    if (mode == OFF || !below(folder, path, whole)) return syscall(SYS_mkdirat, folder, path, permissions);
    STEP(MKDIR, whole, "", syscall(SYS_mkdirat, folder, path, permissions))
}
int mkdir(const char *path, mode_t permissions) { return mkdirat(AT_FDCWD, path, permissions); }

static int on_handle(int handle, int kind, long number, off_t size) {
    if (!mine(handle, 1)) return syscall(number, handle, size);
    pthread_mutex_lock(&mutex);
    int result = -1, e;
    if (step(kind) >= 0) {
        result = syscall(number, handle, size); e = errno;
        if (result == 0) note(kind, inode_of(handle), size, 0, 0, 0);
        after(kind);
    } else e = errno;
    pthread_mutex_unlock(&mutex);
    errno = e;
    return result;
}
int fsync(int handle) { return on_handle(handle, SYNC, SYS_fsync, 0); }
int fdatasync(int handle) { return on_handle(handle, SYNC, SYS_fdatasync, 0); }
int ftruncate(int handle, off_t size) { return on_handle(handle, CUT, SYS_ftruncate, size); }
int ftruncate64(int handle, off64_t size) { return on_handle(handle, CUT, SYS_ftruncate, size); }
int posix_fallocate(int handle, off_t offset, off_t size) { return mine(handle, 2) ? EOPNOTSUPP : syscall(SYS_fallocate, handle, 0, offset, size) ? errno : 0; }
int posix_fallocate64(int handle, off64_t offset, off64_t size) { return posix_fallocate(handle, offset, size); }
int fallocate(int handle, int flags, off_t offset, off_t size) { if (mine(handle, 2)) { errno = EOPNOTSUPP; return -1; } return syscall(SYS_fallocate, handle, flags, offset, size); }
int fallocate64(int handle, int flags, off64_t offset, off64_t size) { return fallocate(handle, flags, offset, size); }

/* The clock. */

static long offset, jumps;
__attribute__((constructor)) static void set_clock(void) { const char *given = getenv("CAMPAIGN_CLOCK"); if (given) sscanf(given, "%ld@%ld", &offset, &jumps); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = real("clock_gettime");
    int result = next(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && now->tv_sec >= jumps) now->tv_sec += offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec found;
    int result = clock_gettime(CLOCK_REALTIME, &found);
    now->tv_sec = found.tv_sec; now->tv_usec = found.tv_nsec / 1000;
    return result;
}

time_t time(time_t *at) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (at) *at = found.tv_sec;
    return found.tv_sec;
}
