"""Run a harness in a Linux process that can do nothing but compute. Executed as a script; standard library only.

Standard input holds one JSON object: ``harness`` (Python source that defines ``answer(request, emit)``), ``request``,
``readable`` (folders the interpreter needs), ``memory`` and ``file`` (bytes), ``cpu_s``, ``namespaces`` (false where
bubblewrap has made them already), and ``user_namespace``. Each emitted object is one line of JSON on standard output.
Exit code 70: a layer of the isolation is missing, named on standard error, and nothing of the request was run.

The layers, from the outside in:
1. namespaces (user unless root, mount, process, network, IPC, host name): an empty network, no other process, and a
   root folder that holds the interpreter read-only and one small folder in memory, nothing else;
2. no user: uid 65534 without capabilities, and no new privileges;
3. Landlock: reading the interpreter, writing the one folder, no TCP, no signal and no abstract socket to the outside;
4. seccomp: no process, no thread, no socket, no exec, none of the calls that kernel exploits start from;
5. limits of memory, CPU time, file size and open files.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MISSING = 70
NOBODY = 65534
BOX = "/box"
NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
# System calls with the same number on every architecture.
MOUNT_SETATTR, LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 442, 444, 445, 446
# By architecture: the audit name, pivot_root and capset, then what seccomp refuses. The refused calls are, in order:
# ptrace mount umount2 pivot_root unshare setns bpf userfaultfd io_uring×3 keyctl add_key request_key perf_event_open
# process_vm_readv process_vm_writev kexec_load open_by_handle_at init_module finit_module clone3 clone socket
# socketpair execve execveat, and on x86-64 fork and vfork.
ARCHITECTURES = {
    "x86_64": (0xC000003E, 155, 126, (101, 165, 166, 155, 272, 308, 321, 323, 425, 426, 427, 250, 248, 249, 298, 310,
                                      311, 246, 304, 175, 313, 435, 56, 41, 53, 59, 322, 57, 58)),
    "aarch64": (0xC00000B7, 41, 91, (117, 40, 39, 41, 97, 268, 280, 282, 425, 426, 427, 219, 217, 218, 241, 270,
                                     271, 104, 265, 105, 273, 435, 220, 198, 199, 221, 281)),
}  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def checked(result: int, layer: str) -> int:
    """The result of a system call. A failure raises ``OSError`` with the layer's name."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{layer}: {os.strerror(number)}")
    return result


def syscall(layer: str, number: int, *arguments: object) -> int:
    return checked(libc.syscall(ctypes.c_long(number), *arguments), layer)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encode = [part.encode() if part is not None else None for part in (source, target, kind, data)]
    checked(libc.mount(encode[0], encode[1], encode[2], flags, encode[3]), "mount")


def enter_namespaces(user: bool) -> None:
    """Leave the host's. Root has no need of a user namespace, in which it could not become another user of the host."""
    uid, gid = os.geteuid(), os.getegid()
    spaces = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWPID | NEWNET
    checked(libc.unshare(spaces | NEWUSER if user else spaces), "namespaces")
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def enter_empty_root(scratch: str, readable: Sequence[str], size: int) -> None:
    """Make a file system of the readable folders and ``BOX`` the only one there is. ``scratch``: an empty folder."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("box", scratch, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for folder in readable:
        inner = scratch + folder
        if os.path.islink(folder):
            os.makedirs(os.path.dirname(inner), exist_ok=True)
            os.symlink(os.readlink(folder), inner)
        elif not os.path.isdir(inner):
            os.makedirs(inner, exist_ok=True)
            mount(folder, inner, None, MS_BIND | MS_REC)
            read_only(inner, AT_RECURSIVE)
    os.mkdir(scratch + BOX)
    mount("box", scratch + BOX, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},mode=1777")
    os.chdir(scratch)
    os.mkdir("old")
    syscall("pivot_root", ARCHITECTURES[platform.machine()][1], b".", b"old")
    checked(libc.umount2(b"/old", MNT_DETACH), "umount")
    os.rmdir("/old")
    read_only("/", 0)


def read_only(folder: str, flags: int) -> None:
    """Set a mount read-only, nosuid and nodev, keeping what it is already (Linux 5.12)."""
    attributes = struct.pack("QQQQ", MS_RDONLY | MS_NOSUID | MS_NODEV, 0, 0, 0)
    syscall("mount_setattr", MOUNT_SETATTR, AT_FDCWD, folder.encode(), flags, attributes, len(attributes))


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    version_3 = struct.pack("Ii", 0x20080522, 0)
    syscall("capabilities", ARCHITECTURES[platform.machine()][2], version_3, bytes(24))
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    die_with_parent()


def die_with_parent() -> None:
    """Set again after each change of user, which clears it."""
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "parent death signal")


def restrict_files(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Landlock. Rights that this kernel does not know are left out; the namespaces refuse what they would have."""
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    version = syscall("Landlock", LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    rights = (
        0x1FFF | (0x2000 if version >= 2 else 0) | (0x4000 if version >= 3 else 0) | (0x8000 if version >= 5 else 0)
    )
    ruleset = struct.pack("QQQ", rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    handle = syscall("Landlock", LANDLOCK_CREATE_RULESET, ruleset[:size], ctypes.c_size_t(size), 0)
    read = 0x4 | 0x8  # files, folders
    for folder, allowed in [*((folder, read) for folder in readable), *((folder, rights & ~1) for folder in writable)]:
        try:
            descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        rule = struct.pack("=Qi", allowed, descriptor)
        syscall("Landlock", LANDLOCK_ADD_RULE, handle, 1, rule, 0)
        os.close(descriptor)
    syscall("Landlock", LANDLOCK_RESTRICT_SELF, handle, 0)
    os.close(handle)


def refuse_system_calls() -> None:
    """seccomp: the listed calls fail with EPERM; a foreign architecture's are killed."""
    audit, _, _, refused = ARCHITECTURES[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    deny, allow, kill = 0x00050001, 0x7FFF0000, 0x80000000
    n = len(refused)
    program = [(load, 0, 0, 4), (equal, 1, 0, audit), (give, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, n + 1, 0, 0x40000000)]  # x32
    program += [(equal, n - i, 0, number) for i, number in enumerate(refused)]
    program += [(give, 0, 0, allow), (give, 0, 0, deny)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter_program = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    checked(libc.prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(filter_program), 0, 0), "seccomp")


def limit(memory: int, file: int, cpu_s: int) -> None:
    for what, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    out = os.dup(1)
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # what the code prints is dropped; standard error is closed when the isolation is complete
    try:
        if job["namespaces"]:
            die_with_parent()
            enter_namespaces(job["user_namespace"])
            child = os.fork()  # the first process of its own process namespace, which ends with it
            if child:
                _, status = os.waitpid(child, 0)
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
            die_with_parent()
            enter_empty_root(job["scratch"], job["readable"], job["file"])
        become_nobody()
        os.chdir(BOX)
        restrict_files(job["readable"], [BOX])
        refuse_system_calls()
        limit(job["memory"], job["file"], job["cpu_s"])
    except (OSError, KeyError) as error:
        os.write(2, f"{error}".encode())
        os._exit(MISSING)
    os.dup2(nothing, 2)

    def emit(value: object) -> None:
        os.write(out, (json.dumps(value) + "\n").encode())

    scope: dict[str, object] = {"__name__": "harness"}
    exec(compile(job["harness"], "<harness>", "exec"), scope)
    answer = scope["answer"]
    assert callable(answer)
    answer(job["request"], emit)


if __name__ == "__main__":
    main()
