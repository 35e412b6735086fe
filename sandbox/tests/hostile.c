// sandbox/tests/hostile.c
// What a hostile build would try: each subcommand tries one thing and prints what came of it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/auxv.h>
#include <sys/xattr.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void tell(const char *what, long result) {
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
    fflush(stdout);
}

// One call by number with plain arguments.
#define TRY(name, ...) tell(#name, syscall(SYS_##name, ##__VA_ARGS__))
#define NUMBER(name, number, ...) tell(name, syscall(number, ##__VA_ARGS__))

static int calls(void) {
    char buffer[4096] = {0};
    TRY(keyctl, 0, -3, 0, 0, 0);
    TRY(add_key, "user", "x", "y", 1L, -3);
    TRY(request_key, "user", "x", 0L, -3);
    TRY(bpf, 0, buffer, 128L);
    TRY(perf_event_open, buffer, 0, -1, -1, 0L);
    TRY(userfaultfd, 1);
    TRY(io_uring_setup, 1, buffer);
    TRY(io_uring_enter, 0, 0, 0, 0, 0L);
    TRY(io_uring_register, 0, 0, 0L, 0);
    TRY(clone3, buffer, 64L);
    NUMBER("clone(newuser)", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0L, 0L, 0L, 0L);
    NUMBER("clone(newnet)", SYS_clone, CLONE_NEWNET | SIGCHLD, 0L, 0L, 0L, 0L);
    TRY(unshare, CLONE_NEWUSER);
    TRY(setns, 0, 0);
    TRY(mount, "none", "/tmp", "tmpfs", 0L, 0L);
    TRY(umount2, "/tmp", MNT_DETACH);
    TRY(pivot_root, ".", ".");
    TRY(chroot, "/tmp");
    TRY(open_tree, AT_FDCWD, "/tmp", 1);
    TRY(move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/tmp", 0);
    TRY(fsopen, "tmpfs", 0);
    TRY(fspick, AT_FDCWD, "/tmp", 0);
    TRY(mount_setattr, AT_FDCWD, "/tmp", 0, buffer, 32L);
    NUMBER("statmount", 457, buffer, buffer, 512L, 0);
    NUMBER("listmount", 458, buffer, buffer, 8L, 0);
    NUMBER("open_tree_attr", 467, AT_FDCWD, "/tmp", 1, buffer, 32L);
    NUMBER("call 500", 500L, 0L);
    TRY(open_by_handle_at, AT_FDCWD, buffer, O_RDONLY);
    TRY(name_to_handle_at, AT_FDCWD, "/", buffer, buffer, 0);
    TRY(init_module, buffer, 0L, "");
    TRY(kexec_load, 0L, 0L, 0L, 0L);
    TRY(reboot, 0, 0, 0, 0L);
    TRY(swapon, "/tmp", 0);
    TRY(acct, 0L);
    TRY(settimeofday, buffer, 0L);
    TRY(clock_settime, 0, buffer);
    TRY(adjtimex, buffer);
    TRY(sethostname, "x", 1L);
    TRY(setdomainname, "x", 1L);
    TRY(syslog, 3, buffer, 100);
    TRY(quotactl, 0, 0L, 0, 0L);
    TRY(fanotify_init, 0, 0);
    TRY(kcmp, getpid(), getpid(), 0, 0L, 0L);
    TRY(move_pages, 0, 0L, 0L, 0L, 0L, 0);
    TRY(setuid, 0);
    TRY(setgid, 0);
    printf("groups %ld\n", syscall(SYS_getgroups, 0, 0L));
    for (int family = 1; family < 46; family++) {
        int fd = socket(family, SOCK_DGRAM, 0);
        // Another refusal would mean that the kernel was asked.
        if (fd >= 0 || errno != EAFNOSUPPORT) {
            printf("family %d\n", family);
            if (fd >= 0) close(fd);
        }
    }
    return 0;
}

static int terminal(void) {
    int leader = posix_openpt(O_RDWR | O_NOCTTY);
    tell("openpt", leader);
    grantpt(leader);
    unlockpt(leader);
    int line = open(ptsname(leader), O_RDWR);
    tell("open line", line);
    char letter = 'x';
    tell("TIOCSTI", ioctl(line, TIOCSTI, &letter));
    // The kernel looks at the low half of the number only.
    tell("TIOCSTI with high bits", syscall(SYS_ioctl, line, 0x100000000UL | TIOCSTI, &letter));
    letter = 3;
    tell("TIOCLINUX", ioctl(line, TIOCLINUX, &letter));
    struct winsize size;
    tell("TIOCGWINSZ", ioctl(line, TIOCGWINSZ, &size));
    tell("open tty", open("/dev/tty", O_RDWR));
    return 0;
}

static int reach(const char *port, const char *abstract, const char *path) {
    struct sockaddr_in internet = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    tell("connect to the host", connect(fd, (void *)&internet, sizeof internet));
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path + 1, abstract);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("connect to the abstract socket", connect(fd, (void *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract)));
    strcpy(name.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    tell("connect to the path socket", connect(fd, (void *)&name, sizeof name));
    internet.sin_addr.s_addr = inet_addr("192.0.2.1");
    fd = socket(AF_INET, SOCK_STREAM, 0);
    tell("connect to the world", connect(fd, (void *)&internet, sizeof internet));
    // Loopback of our own works.
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof internet;
    internet = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    bind(server, (void *)&internet, sizeof internet);
    listen(server, 1);
    getsockname(server, (void *)&internet, &length);
    tell("connect to ourselves", connect(client, (void *)&internet, sizeof internet));
    return 0;
}

static int outsiders(const char *text) {
    int pid = atoi(text);
    char buffer[16];
    struct iovec local = {buffer, 16}, remote = {(void *)0x400000, 16};
    tell("kill", kill(pid, 0));
    tell("ptrace", ptrace(PTRACE_ATTACH, pid, 0, 0));
    tell("process_vm_readv", process_vm_readv(pid, &local, 1, &remote, 1, 0));
    tell("pidfd_open", syscall(SYS_pidfd_open, pid, 0));
    tell("ptrace 1", ptrace(PTRACE_ATTACH, 1, 0, 0));
    tell("process_vm_readv 1", process_vm_readv(1, &local, 1, &remote, 1, 0));
    tell("open /proc/1/environ", open("/proc/1/environ", O_RDONLY));
    tell("open /proc/1/root", open("/proc/1/root/", O_RDONLY));
    tell("open /proc/1/exe", open("/proc/1/exe", O_RDONLY));
    tell("open /proc/1/fd", open("/proc/1/fd", O_RDONLY));
    tell("open /proc/self/exe for writing", open("/proc/self/exe", O_RDWR));
    kill(1, SIGKILL);
    kill(1, SIGTERM);
    tell("pid 1 is alive", kill(1, 0));
    int child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    tell("ptrace of a child", ptrace(PTRACE_SEIZE, child, 0, 0));
    kill(child, SIGKILL);
    return 0;
}

static int nodes(void) {
    umask(0);
    tell("character device", mknod("/build/null", S_IFCHR | 0666, makedev(1, 3)));
    tell("block device", mknod("/build/disk", S_IFBLK | 0666, makedev(254, 0)));
    // Without landlock the kernel lets everybody make this one.
    tell("whiteout", mknod("/build/whiteout", S_IFCHR | 0666, makedev(0, 0)));
    tell("fifo", mkfifo("/build/fifo", 0666));
    return 0;
}

static int forks(void) {
    int count = 0;
    for (; count < 5000; count++) {
        int pid = fork();
        if (pid < 0) break;
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
    printf("forked %d, then %s\n", count, strerrorname_np(errno));
    return 0;
}

static int eat(const char *mebibytes) {
    for (int i = 0; i < atoi(mebibytes); i++) {
        char *piece = malloc(1 << 20);
        if (!piece) return 3;
        memset(piece, 1, 1 << 20);
    }
    printf("ate it\n");
    return 0;
}

// Leaves a process that has its own session, ignores signals, holds stdout and goes on writing.
static int daemon_(const char *path) {
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            for (int number = 1; number < 65; number++) signal(number, SIG_IGN);
            int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
            for (;;) {
                if (write(file, "x", 1) != 1) _exit(1);
                usleep(20000);
            }
        }
        _exit(0);
    }
    wait(NULL);
    struct stat about = {0};
    for (int tries = 0; tries < 1000 && about.st_size < 3; tries++) {
        usleep(10000);
        stat(path, &about);
    }
    printf("daemon started\n");
    return 0;
}

static int kernel(void) {
    struct utsname names;
    tell("uname", uname(&names));
    printf("%s|%s|%s|%s|%s|%s\n", names.sysname, names.nodename, names.release, names.version, names.machine, names.domainname);
    tell("uname to nowhere", syscall(SYS_uname, 8L));
    return 0;
}

static int clocks(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    printf("boottime %ld\n", (long)now.tv_sec);
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("monotonic %ld\n", (long)now.tv_sec);
    printf("main %p stack %p heap %p\n", (void *)clocks, (void *)&now, malloc(1));
    return 0;
}

// Which of the mounts at these paths would honour setuid bits.
static int mounts(char **paths) {
    for (; *paths; paths++) {
        struct statvfs about;
        if (statvfs(*paths, &about)) tell(*paths, -1);
        else printf("%s %s\n", *paths, about.f_flag & ST_NOSUID ? "nosuid" : "SUID");
    }
    return 0;
}

// Gives a file away by every call there is, and looks at it by every call there is.
static int owners(void) {
    struct stat about;
    struct statx more;
    int file = open("file", O_RDWR | O_CREAT, 0755);
    int directory = open(".", O_RDONLY | O_DIRECTORY);
    symlink("file", "link");
    mkdir("below", 0755);
#ifdef __x86_64__
    tell("chown", syscall(SYS_chown, "file", 0, 0));
    stat("file", &about);
    printf("%d:%d\n", (int)about.st_uid, (int)about.st_gid);
    tell("lchown", syscall(SYS_lchown, "link", 8, 8));
    syscall(SYS_lstat, "link", &about);
    printf("%d:%d\n", (int)about.st_uid, (int)about.st_gid);
#else
    tell("chown", fchownat(AT_FDCWD, "file", 0, 0, 0));
    printf("0:0\n");
    tell("lchown", fchownat(AT_FDCWD, "link", 8, 8, AT_SYMLINK_NOFOLLOW));
    printf("8:8\n");
#endif
    tell("fchown", fchown(file, 5, -1));
    syscall(SYS_fstat, file, &about);
    printf("%d:%d\n", (int)about.st_uid, (int)about.st_gid);
    tell("fchownat", fchownat(directory, "../build/below/../link", -1, 60, 0));
    statx(directory, "file", 0, STATX_ALL, &more);
    printf("%u:%u\n", more.stx_uid, more.stx_gid);
    syscall(SYS_newfstatat, file, "", &about, AT_EMPTY_PATH);
    printf("%d:%d\n", (int)about.st_uid, (int)about.st_gid);
    tell("chmod", fchmod(file, 06755));
    stat("/build/link", &about);
    printf("%o\n", about.st_mode & 07777);
    tell("chown of a set-id program", chown("file", 2, 2));
    stat("file", &about);
    printf("%o\n", about.st_mode & 07777);
    chdir("below");
    tell("from elsewhere", chown("../file", 5, 60));
    chdir("..");
    tell("of another", chown("/usr/bin/env", 0, 0));
    tell("of nothing", chown("nothing", 0, 0));
    tell("by a wrong address", syscall(SYS_fchownat, AT_FDCWD, 8L, 0, 0, 0));
    tell("into a wrong address", syscall(SYS_newfstatat, AT_FDCWD, "file", 8L, 0));
    tell("device", mknod("node\033[2J", S_IFCHR | 0666, makedev(1, 3)));
    tell("pipe", mkfifo("pipe", 0644));
    // A file that may come to the number of one that is gone.
    for (int number = 0; number < 200; number++) {
        int other = open("short", O_WRONLY | O_CREAT, 0644);
        fchown(other, 33, 33);
        close(other);
        unlink("short");
        other = open("later", O_WRONLY | O_CREAT | O_TRUNC, 0644);
        fstat(other, &about);
        close(other);
        if (about.st_uid != 1000) printf("it was given to %d\n", (int)about.st_uid);
        if (number < 199) unlink("later");
    }
    printf("id %d:%d\n", (int)getuid(), (int)getgid());
    return 0;
}

// Hands an open file to whoever comes, through a socket with a path and through one without.
static int hand_out(const char *abstract, const char *path) {
    int file = open("held", O_RDWR | O_CREAT, 0644);
    int listener[2];
    for (int number = 0; number < 2; number++) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        strcpy(name.sun_path + !number, number ? path : abstract);
        socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name.sun_path + !number);
        listener[number] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        tell(number ? "listen at a path" : "listen at an abstract name",
             bind(listener[number], (void *)&name, length) < 0 ? -1 : listen(listener[number], 8));
    }
    for (int tries = 0; tries < 300; tries++) {
        for (int number = 0; number < 2; number++) {
            int caller = accept(listener[number], NULL, NULL);
            if (caller < 0) continue;
            char control[CMSG_SPACE(sizeof file)] = {0};
            struct iovec byte = {"x", 1};
            struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
            *CMSG_FIRSTHDR(&message) = (struct cmsghdr){CMSG_LEN(sizeof file), SOL_SOCKET, SCM_RIGHTS};
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &file, sizeof file);
            printf("handed to somebody %s: %zd\n", number ? "who knew the path" : "who knew the name", sendmsg(caller, &message, 0));
            fflush(stdout);
        }
        if (access("enough", F_OK) == 0) break;
        usleep(20000);
    }
    printf("end\n");
    return 0;
}

// A program that asks for more than its caller has: set-id bits by every call there is, and file capabilities.
static int privileges(const char *self) {
    if (getenv("AGAIN")) {
        unsigned int none[6] = {0x20080522, 0}, data[6] = {0};
        syscall(SYS_capget, none, data);
        printf("again %d %d %d %d, secure %lu, capabilities %x\n", getuid(), geteuid(), getgid(), getegid(), getauxval(AT_SECURE), data[0] | data[3]);
        return 0;
    }
    char command[200];
    snprintf(command, sizeof command, "cp %s copy", self);
    if (system(command)) return 1;
    // 452 is fchmodat2, which a C library from before it does not know.
    long made = syscall(452, AT_FDCWD, "copy", 06755, 0);
    printf("fchmodat2 %s\n", made == 0 || errno == ENOSYS ? "ok" : strerrorname_np(errno));
    tell("chmod", chmod("copy", 06755));
    int file = open("copy", O_RDONLY);
    tell("fchmod", fchmod(file, 06755));
    tell("fchmodat", fchmodat(AT_FDCWD, "copy", 06755, 0));
    // cap_setuid, permitted and effective, as setcap writes it.
    unsigned int capability[5] = {0x02000001, 1 << 7, 0, 0, 0};
    tell("security.capability", setxattr("copy", "security.capability", capability, sizeof capability, 0));
    tell("security.capability by descriptor", fsetxattr(file, "security.capability", capability, sizeof capability, 0));
    tell("trusted.x", setxattr("copy", "trusted.x", "x", 1, 0));
    close(file);
    setenv("AGAIN", "1", 1);
    execl("copy", "copy", "privileges", NULL);
    tell("exec", -1);
    return 0;
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    if (!strcmp(what, "calls")) return calls();
    if (!strcmp(what, "terminal")) return terminal();
    if (!strcmp(what, "reach")) return reach(arguments[2], arguments[3], arguments[4]);
    if (!strcmp(what, "outsiders")) return outsiders(arguments[2]);
    if (!strcmp(what, "nodes")) return nodes();
    if (!strcmp(what, "forks")) return forks();
    if (!strcmp(what, "eat")) return eat(arguments[2]);
    if (!strcmp(what, "daemon")) return daemon_(arguments[2]);
    if (!strcmp(what, "owners")) return owners();
    if (!strcmp(what, "hand-out")) return hand_out(arguments[2], arguments[3]);
    if (!strcmp(what, "privileges")) return privileges(arguments[0]);
    if (!strcmp(what, "clocks")) return clocks();
    if (!strcmp(what, "kernel")) return kernel();
    if (!strcmp(what, "mounts")) return mounts(arguments + 2);
#ifdef __x86_64__
    if (!strcmp(what, "x32")) {
        tell("x32 getpid", syscall(0x40000000 | SYS_getpid));
        return 0;
    }
    if (!strcmp(what, "i386")) {
        long result;
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
        printf("i386 getpid %ld\n", result);
        return 0;
    }
#endif
    printf("hello\n");
    return 0;
}
