/* Records what a program writes to a folder and what it syncs, for crash images. Loaded with LD_PRELOAD.
 *
 * CTI_RECORD_FOLDER: an absolute path; only what is below it is recorded.
 * CTI_RECORD_LOG: the file of the recording. Each record is a header and a payload; see `recording.rs`.
 *
 * A write is recorded after it was made, and before any later one. A sync is recorded when it has returned, with the number
 * of records that were there when it began: only what was written before is certain to be synced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATED = 1, WRITTEN, TRUNCATED, SYNCED, FOLDER_SYNCED, UNLINKED, RENAMED };
enum { MAX_FILES = 65536 };

struct header {
    uint32_t kind;
    uint32_t length;
    uint64_t file;
    uint64_t number;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static int log_file = -1;
static uint64_t records;
/* The paths of the open files and folders that are recorded. */
static char *paths[MAX_FILES];

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);

static void fail(const char *what)
{
    perror(what);
    abort();
}

/* Also called by what is loaded before this library has started. */
__attribute__((constructor)) static void start(void)
{
    if (real_open)
        return;
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_open = dlsym(RTLD_NEXT, "open");
    const char *wanted = getenv("CTI_RECORD_FOLDER"), *name = getenv("CTI_RECORD_LOG");
    if (!wanted || !name)
        return;
    snprintf(folder, sizeof folder, "%s/", wanted);
    folder_length = strlen(folder);
    log_file = real_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_file < 0)
        fail(name);
}

/* Returns the absolute path if it is to be recorded. */
static char *recorded(const char *path)
{
    char whole[PATH_MAX * 2];
    if (log_file < 0 || !path)
        return NULL;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here))
            return NULL;
        snprintf(whole, sizeof whole, "%s/%s", here, path);
    }
    int is_folder_itself = strncmp(whole, folder, folder_length - 1) == 0 && whole[folder_length - 1] == 0;
    return is_folder_itself || strncmp(whole, folder, folder_length) == 0 ? strdup(whole) : NULL;
}

/* Writes all of it; a recording with a hole proves nothing. */
static void put(const void *bytes, size_t length)
{
    const char *next = bytes;
    while (length > 0) {
        ssize_t written = real_write(log_file, next, length);
        if (written < 0 && errno != EINTR)
            fail("the recording");
        if (written > 0) {
            next += written;
            length -= (size_t)written;
        }
    }
}

/* Appends a record. The mutex is held. */
static void append(uint32_t kind, uint64_t file, uint64_t number, const void *payload, size_t length)
{
    struct header header = { kind, (uint32_t)length, file, number };
    put(&header, sizeof header);
    put(payload, length);
    records++;
}

static int is_recorded(int fd)
{
    return fd >= 0 && fd < MAX_FILES && paths[fd] != NULL;
}

static uint64_t inode(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        fail("fstat");
    return (uint64_t)stat.st_ino;
}

static int open_recorded(const char *path, int flags, mode_t mode)
{
    start();
    char *whole = recorded(path);
    if (!whole)
        return real_open(path, flags, mode);
    pthread_mutex_lock(&mutex);
    int existed = access(path, F_OK) == 0;
    int fd = real_open(path, flags, mode);
    int error = errno;
    if (fd >= 0 && fd < MAX_FILES) {
        free(paths[fd]);
        paths[fd] = whole;
        if (!existed && (flags & O_CREAT))
            append(CREATED, inode(fd), 0, whole, strlen(whole));
        else if (existed && (flags & O_TRUNC))
            append(TRUNCATED, inode(fd), 0, NULL, 0);
    } else {
        free(whole);
    }
    pthread_mutex_unlock(&mutex);
    errno = error;
    return fd;
}

#define MODE_OF(flags)                                \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | O_TMPFILE)) {            \
        va_list arguments;                            \
        va_start(arguments, flags);                   \
        mode = (mode_t)va_arg(arguments, int);        \
        va_end(arguments);                            \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_recorded(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    return open_recorded(path, flags | O_LARGEFILE, mode);
}

int close(int fd)
{
    start();
    if (is_recorded(fd)) {
        pthread_mutex_lock(&mutex);
        free(paths[fd]);
        paths[fd] = NULL;
        int result = real_close(fd);
        int error = errno;
        pthread_mutex_unlock(&mutex);
        errno = error;
        return result;
    }
    return real_close(fd);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    start();
    if (!is_recorded(fd))
        return real_write(fd, bytes, length);
    pthread_mutex_lock(&mutex);
    ssize_t written = real_write(fd, bytes, length);
    int error = errno;
    if (written > 0) {
        off_t end = lseek(fd, 0, SEEK_CUR);
        append(WRITTEN, inode(fd), (uint64_t)(end - written), bytes, (size_t)written);
    }
    pthread_mutex_unlock(&mutex);
    errno = error;
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    start();
    if (!is_recorded(fd))
        return real_writev(fd, parts, count);
    ssize_t total = 0;
    for (int part = 0; part < count; part++) {
        ssize_t written = write(fd, parts[part].iov_base, parts[part].iov_len);
        if (written < 0)
            return total > 0 ? total : written;
        total += written;
        if ((size_t)written < parts[part].iov_len)
            break;
    }
    return total;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    start();
    if (!is_recorded(fd))
        return real_pwrite(fd, bytes, length, offset);
    pthread_mutex_lock(&mutex);
    ssize_t written = real_pwrite(fd, bytes, length, offset);
    int error = errno;
    if (written > 0)
        append(WRITTEN, inode(fd), (uint64_t)offset, bytes, (size_t)written);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return written;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
    return pwrite(fd, bytes, length, offset);
}

int ftruncate(int fd, off_t length)
{
    start();
    if (!is_recorded(fd))
        return real_ftruncate(fd, length);
    pthread_mutex_lock(&mutex);
    int result = real_ftruncate(fd, length);
    int error = errno;
    if (result == 0)
        append(TRUNCATED, inode(fd), (uint64_t)length, NULL, 0);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

int ftruncate64(int fd, off64_t length)
{
    return ftruncate(fd, length);
}

static int sync_recorded(int (*real)(int), int fd)
{
    if (!is_recorded(fd))
        return real(fd);
    struct stat stat;
    pthread_mutex_lock(&mutex);
    uint64_t before = records;
    char *path = strdup(paths[fd]);
    if (fstat(fd, &stat) != 0)
        fail("fstat");
    pthread_mutex_unlock(&mutex);
    int result = real(fd);
    int error = errno;
    if (result == 0) {
        pthread_mutex_lock(&mutex);
        append(S_ISDIR(stat.st_mode) ? FOLDER_SYNCED : SYNCED, (uint64_t)stat.st_ino, before, path, strlen(path));
        pthread_mutex_unlock(&mutex);
    }
    free(path);
    errno = error;
    return result;
}

int fsync(int fd)
{
    start();
    return sync_recorded(real_fsync, fd);
}

int fdatasync(int fd)
{
    start();
    return sync_recorded(real_fdatasync, fd);
}

int unlink(const char *path)
{
    start();
    char *whole = recorded(path);
    if (!whole)
        return real_unlink(path);
    pthread_mutex_lock(&mutex);
    int result = real_unlink(path);
    int error = errno;
    if (result == 0)
        append(UNLINKED, 0, 0, whole, strlen(whole));
    pthread_mutex_unlock(&mutex);
    free(whole);
    errno = error;
    return result;
}

int rename(const char *from, const char *to)
{
    start();
    char *old = recorded(from), *new = recorded(to);
    if (!old || !new) {
        free(old);
        free(new);
        return real_rename(from, to);
    }
    pthread_mutex_lock(&mutex);
    int result = real_rename(from, to);
    int error = errno;
    if (result == 0) {
        char both[PATH_MAX * 4];
        int length = snprintf(both, sizeof both, "%s%c%s", old, 0, new);
        append(RENAMED, 0, 0, both, (size_t)length);
    }
    pthread_mutex_unlock(&mutex);
    free(old);
    free(new);
    errno = error;
    return result;
}
