"""Attempts to get out of a sandbox, one function each. Run inside: `python3 attempts.py TARGETS [NAME…]`.

TARGETS is JSON with what the test planted on the machine. Each attempt returns a text that says what it reached, or
nothing; an exception is nothing, too. Prints `begun NAME` and then `failed NAME` or `REACHED NAME: WHAT`.
"""
import ctypes, glob, json, mmap, os, platform, resource, signal, socket, stat, struct, subprocess, sys, tempfile, threading, time

T = {}
INHERITED = []
for fd in os.listdir("/proc/self/fd"):
    try:
        if int(fd) > 2 and not os.readlink("/proc/self/fd/" + fd).startswith("/proc/"): INHERITED.append(os.readlink("/proc/self/fd/" + fd))
    except OSError: pass
LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
QUICK, HEAVY = {}, {}
CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET = 0x10000000, 0x20000, 0x40000000


def quick(f):
    QUICK[f.__name__] = f
    return f


def heavy(f):
    HEAVY[f.__name__] = f
    return f


def call(number, *arguments):
    """A system call by its number on x86-64; fails elsewhere."""
    if not X86:
        raise OSError("another architecture")
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def read(path, most=1 << 20):
    with open(path, "rb") as file:
        return file.read(most)


def canary(data):
    return "the canary" if T["canary"].encode() in data else None


def write(path, text="1"):
    with open(path, "w") as file:
        file.write(text)
    return path


# Files of the machine.

@quick
def read_a_file_of_the_users_home(): return canary(read(T["home_file"]))
@quick
def read_a_file_below_tmp(): return canary(read(T["tmp_file"]))
@quick
def read_the_database_of_runs(): return canary(read(T["data_file"]))
@quick
def read_through_a_symbolic_link():
    os.symlink(T["tmp_file"], "link-out")
    return canary(read("link-out"))
@quick
def read_through_a_hard_link():
    os.link(T["tmp_file"], "hard-out")
    return canary(read("hard-out"))
@quick
def read_above_the_root():
    return canary(read("/.." * 40 + T["tmp_file"]))
@quick
def read_through_proc_root():
    for root in glob.glob("/proc/[0-9]*/root"):
        try:
            if canary(read(root + T["tmp_file"])): return root
        except OSError: pass
@quick
def read_through_proc_cwd():
    for cwd in glob.glob("/proc/[0-9]*/cwd"):
        try:
            if canary(read(os.path.join(cwd, os.path.relpath(T["tmp_file"], "/")))): return cwd
        except OSError: pass
@quick
def read_by_file_handle():
    handle = struct.pack("IiII", 8, 1, 2, 0) + b"\0" * 128
    fd = call(304, os.open("/", os.O_RDONLY), ctypes.create_string_buffer(handle, 160), 0)
    return "root of the disk: %s" % os.listdir(fd)
@quick
def write_a_program_of_the_machine(): write("/usr/bin/" + T["mark"])
@quick
def write_a_setting_of_the_machine(): write("/etc/" + T["mark"])
@quick
def write_below_tmp_of_the_machine(): write("/tmp/" + T["mark"]); write("/var/tmp/" + T["mark"])
@quick
def write_memory_files_of_the_machine(): write("/dev/shm/" + T["mark"])
@quick
def write_next_to_the_sandbox():
    for n in range(1, 12):
        try: write("/.." * n + "/" + T["mark"])
        except OSError: pass
        try: write("../" * n + T["mark"])
        except OSError: pass
@quick
def change_the_program_of_the_agent():
    for path in ("/.atoll-agent", "/atoll"):
        if os.path.exists(path):
            with open(path, "r+b") as file: file.write(b"\x7fELF"); return path
@quick
def escape_by_chroot():
    os.mkdir("jail"); held = os.open("/", os.O_RDONLY); os.chroot("jail"); os.fchdir(held)
    for _ in range(20): os.chdir("..")
    os.chroot(".")
    return canary(read(T["tmp_file"]))

# Other processes.

@quick
def see_processes_of_the_machine():
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if " ".join(T["host_words"]).encode() in read(path).replace(b"\0", b" "): return path
        except OSError: pass
@quick
def read_environments_of_processes():
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            if canary(read(path)): return path
        except OSError: pass
@quick
def read_its_own_environment(): return canary(repr(dict(os.environ)).encode())
@quick
def kill_a_process_of_the_machine():
    if os.path.exists("/proc/%d/cmdline" % T["host_pid"]) and " ".join(T["host_words"]).encode() in read("/proc/%d/cmdline" % T["host_pid"]).replace(b"\0", b" "):
        os.kill(T["host_pid"], signal.SIGTERM)
        return "a signal was sent"
@quick
def trace_other_processes():
    for entry in [*agents(), *(["/proc/1"] if b"bwrap" in read("/proc/1/cmdline") else [])]:
        if LIBC.ptrace(0x4206, int(entry[6:]), 0, 0) == 0: return entry
@quick
def read_memory_of_the_agent():
    for entry in agents():
        with open(entry + "/mem", "rb") as memory: memory.read(0); return entry
@quick
def write_memory_of_the_agent():
    for entry in agents():
        os.open(entry + "/mem", os.O_RDWR); return entry
@quick
def read_memory_by_process_vm_readv():
    for entry in agents():
        buffer = ctypes.create_string_buffer(8)
        local = struct.pack("QQ", ctypes.addressof(buffer), 8)
        start = int(read(entry + "/maps").split(b"-")[0], 16)
        call(310, int(entry[6:]), ctypes.create_string_buffer(local), 1, ctypes.create_string_buffer(struct.pack("QQ", start, 8)), 1, 0)
        return entry
@quick
def take_files_of_the_agent():
    for entry in agents():
        pidfd = call(434, int(entry[6:]), 0)
        for fd in range(20):
            try: return "fd %d" % call(438, pidfd, fd, 0)
            except OSError: pass
@quick
def list_files_of_the_agent():
    for entry in agents():
        return repr([os.readlink(f) for f in glob.glob(entry + "/fd/*")] or None) if os.listdir(entry + "/fd") else None
@quick
def compare_kernel_objects():
    call(312, os.getpid(), os.getppid(), 0, 0, 1); return "kcmp"
@quick
def inherit_open_files():
    return repr(INHERITED) if INHERITED else None
@quick
def spare_itself_from_the_out_of_memory_killer():
    write("/proc/self/oom_score_adj", "-900"); return "oom_score_adj"
@quick
def run_before_everybody_else():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)); return "real time"
@quick
def be_nicer_to_itself():
    os.setpriority(os.PRIO_PROCESS, 0, -10); return "nice -10"
@quick
def raise_its_limits():
    for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE):
        soft, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            resource.setrlimit(which, (soft, resource.RLIM_INFINITY)); return "limit %d" % which

# The kernel's own files.

@quick
def read_the_kernels_memory(): read("/proc/kcore", 16); return "kcore"
@quick
def read_the_machines_memory():
    for path in ("/dev/mem", "/dev/kmem", "/dev/port"):
        try: read(path, 1); return path
        except OSError: pass
@quick
def read_addresses_of_the_kernel():
    lines = [l for l in read("/proc/kallsyms").split(b"\n")[:-1] if l and not l.startswith(b"0000000000000000")]
    return repr(lines[0]) if lines else None
@quick
def read_the_kernels_log():
    for path in ("/dev/kmsg", "/proc/kmsg"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK); os.read(fd, 8192); return path
        except OSError: pass
@quick
def read_the_kernels_log_by_call():
    buffer = ctypes.create_string_buffer(4096); call(103, 3, buffer, 4096); return "syslog"
@quick
def list_keys(): return repr(read("/proc/keys")) if read("/proc/keys").strip() else None
@quick
def press_the_system_request_key(): write("/proc/sysrq-trigger", "h"); return "sysrq"
@quick
def name_a_program_for_crashes():
    with open("/proc/sys/kernel/core_pattern", "r+") as file: file.write(file.read()); return "core_pattern"
@quick
def name_a_program_for_modules():
    with open("/proc/sys/kernel/modprobe", "r+") as file: file.write(file.read()); return "modprobe"
@quick
def name_a_program_for_devices():
    with open("/sys/kernel/uevent_helper", "w") as file: file.write("/x"); return "uevent_helper"
@quick
def change_settings_of_the_kernel():
    for path in ("/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/ns_last_pid", "/proc/sys/fs/file-max"):
        try:
            with open(path, "r+") as file: file.write(file.read()); return path
        except OSError: pass
@quick
def register_a_binary_format():
    for path in ("/proc/sys/fs/binfmt_misc/register",):
        with open(path, "w") as file: file.write(":x:M::x::/x:"); return path
@quick
def change_the_power_state(): write("/sys/power/state", ""); return "power"
@quick
def leave_its_control_group():
    for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True):
        try: write(path, str(os.getpid())); return path
        except OSError: pass
@quick
def name_a_release_agent():
    for path in glob.glob("/sys/fs/cgroup/**/release_agent", recursive=True):
        try: write(path, "/x"); return path
        except OSError: pass
@quick
def raise_limits_of_its_control_group():
    for path in glob.glob("/sys/fs/cgroup/**/*max", recursive=True) + glob.glob("/sys/fs/cgroup/**/memory.limit_in_bytes", recursive=True):
        try: write(path, "max"); return path
        except OSError: pass

# Devices.

@quick
def open_disks():
    for path in glob.glob("/dev/vd*") + glob.glob("/dev/sd*") + glob.glob("/dev/nvme*") + glob.glob("/dev/loop*") + glob.glob("/dev/dm-*"):
        try: read(path, 1); return path
        except OSError: pass
@quick
def open_other_devices():
    for path in ("/dev/kvm", "/dev/fuse", "/dev/vsock", "/dev/vhost-vsock", "/dev/loop-control", "/dev/net/tun", "/dev/uinput", "/dev/rtc0", "/dev/console"):
        try: os.open(path, os.O_RDWR); return path
        except OSError: pass
@quick
def make_a_disk_device():
    for major, minor in ((254, 0), (8, 0), (259, 0), (7, 0)):
        os.mknod("disk%d" % major, 0o600 | stat.S_IFBLK, os.makedev(major, minor))
        read("disk%d" % major, 1); return "disk %d" % major
@quick
def make_a_memory_device():
    os.mknod("memory", 0o600 | stat.S_IFCHR, os.makedev(1, 1)); read("memory", 1); return "memory"
@quick
def make_a_log_device():
    os.mknod("kmsg", 0o600 | stat.S_IFCHR, os.makedev(1, 11)); os.open("kmsg", os.O_RDONLY | os.O_NONBLOCK); return "kmsg"

# Keys.

@quick
def read_the_session_keyring(): return "keyring %d" % call(250, 0, -3, 0)
@quick
def search_a_key_of_the_user(): return "key %d" % call(250, 10, -4, b"user", T["canary"].encode(), 0)
@quick
def add_a_key(): return "key %d" % call(248, b"user", b"atoll-attack", b"x", 1, -3)
@quick
def request_a_key(): return "key %d" % call(249, b"user", b"atoll-attack", 0, 0)
@quick
def join_a_keyring_by_name(): return "keyring %d" % call(250, 1, b"_ses")

# Namespaces and mounts.

@quick
def make_a_user_namespace(): call(272, CLONE_NEWUSER); return "unshare"
@quick
def make_a_mount_namespace(): call(272, CLONE_NEWNS); return "unshare"
@quick
def make_a_network_namespace(): call(272, CLONE_NEWNET); return "unshare"
@quick
def clone_into_a_user_namespace():
    pid = call(56, CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    return "clone"
@quick
def clone3_into_a_user_namespace():
    pid = call(435, ctypes.create_string_buffer(struct.pack("11Q", CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)), 88)
    if pid == 0: os._exit(0)
    return "clone3"
@quick
def join_namespaces_of_others():
    for path in glob.glob("/proc/[0-9]*/ns/*"):
        try: fd = os.open(path, os.O_RDONLY); call(308, fd, 0); return path
        except OSError: pass
@quick
def mount_a_file_system(): call(165, b"none", b"/tmp", b"tmpfs", 0, 0); return "mount"
@quick
def mount_with_the_new_calls(): return "fsopen %d" % call(430, b"tmpfs", 0)
@quick
def mount_writable_again(): call(165, b"none", b"/usr", 0, 0x1020, 0); return "remount"
@quick
def copy_a_mount(): return "open_tree %d" % call(428, -100, b"/", 1)
@quick
def unmount(): call(166, b"/proc", 2); return "umount"
@quick
def change_the_root(): call(155, b".", b"."); return "pivot_root"

# Calls of the kernel that no program needs.

@quick
def set_up_io_uring(): return "fd %d" % call(425, 4, ctypes.create_string_buffer(200))
@quick
def load_a_bpf_program():
    return "fd %d" % call(321, 0, ctypes.create_string_buffer(struct.pack("IIII", 2, 4, 8, 1) + b"\0" * 112), 128)
@quick
def watch_performance():
    return "fd %d" % call(298, ctypes.create_string_buffer(struct.pack("IIQ", 1, 128, 0) + b"\0" * 112), 0, -1, -1, 0)
@quick
def handle_page_faults(): return "fd %d" % call(323, 1)
@quick
def watch_all_files(): return "fd %d" % call(300, 0, 0)
@quick
def load_another_kernel(): call(246, 0, 0, 0, 0); return "kexec"
@quick
def load_a_module():
    try: call(175, b"x", 1, b"")
    except OSError as error:
        if error.errno == 8: return "a module was looked at"
        raise
@quick
def remove_a_module():
    try: call(176, b"no_such_module", 0)
    except OSError as error:
        if error.errno == 2: return "modules were looked at"
        raise
@quick
def restart_the_machine(): call(169, 0xfee1dead, 672274793, 0, 0); return "reboot"
@quick
def swap():
    try: call(167, b"/no-such-file", 0)
    except OSError as error:
        if error.errno == 2: return "swapon"
        raise
@quick
def set_the_clock():
    now = time.time(); call(164, ctypes.create_string_buffer(struct.pack("qq", int(now), int(now % 1 * 1e6))), 0); return "settimeofday"
@quick
def set_the_clock_by_another_call():
    now = time.time(); call(227, 0, ctypes.create_string_buffer(struct.pack("qq", int(now), int(now % 1 * 1e9)))); return "clock_settime"
@quick
def rename_the_machine(): call(170, b"atoll", 5); return "sethostname"
@quick
def account_for_processes(): call(163, 0); return "acct"
@quick
def set_quotas():
    try: call(179, 0x800002 << 8, b"/dev/vda", 0, 0)
    except OSError as error:
        if error.errno in (2, 3, 15): return "quotactl"
        raise
@quick
def reach_ports_of_devices(): call(172, 3); return "iopl"
@quick
def reach_one_port(): call(173, 0x80, 1, 1); return "ioperm"
@quick
def change_its_personality(): call(135, 0x0400000); return "READ_IMPLIES_EXEC"
@quick
def change_descriptor_tables(): call(154, 0, ctypes.create_string_buffer(64), 64); return "modify_ldt"
@quick
def move_pages_of_others(): call(256, 1, 1, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)); return "migrate_pages"
@quick
def call_as_another_architecture():
    """keyctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING) with the numbers of 32-bit programs."""
    if not X86: return None
    code = bytes.fromhex("53b82001000031dbb9fdffffff31d2cd805bc3")
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    return "keyring %d" % result if result > 0 else None
@quick
def call_with_the_numbers_of_x32(): return "pid %d" % call(0x40000000 + 39)

# Privileges.

@quick
def become_root():
    if os.getuid() != 0: os.setuid(0); return "uid 0"
@quick
def join_groups():
    if os.getuid() != 0: os.setgroups([0]); return "group 0"
@quick
def run_programs_that_give_privileges():
    if os.getuid() == 0: return None
    for program in (["su", "-c", "id -u"], ["sudo", "-n", "id", "-u"], ["pkexec", "id", "-u"], ["newgrp", "root"], ["mount", "-t", "tmpfs", "none", "/tmp"]):
        try: done = subprocess.run(program, capture_output=True, stdin=subprocess.DEVNULL, timeout=5)
        except (OSError, subprocess.TimeoutExpired): continue
        if done.returncode == 0 and program[0] != "newgrp": return repr(program)
    for path in glob.glob("/usr/bin/*") + glob.glob("/usr/sbin/*"):
        if os.path.isfile(path) and os.stat(path).st_mode & stat.S_ISUID and os.access(path, os.X_OK):
            copy = read("/proc/self/status")
            if b"NoNewPrivs:\t1" not in copy: return path + " would be root"
@quick
def have_capabilities():
    allowed = T.get("capabilities", 0)
    found = [l for l in read("/proc/self/status").decode().split("\n") if l.startswith("Cap") and int(l.split()[1], 16) & ~allowed]
    return repr(found) if found else None
@quick
def give_capabilities_to_a_program():
    write("capable"); os.setxattr("capable", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000")); return "security.capability"
@quick
def type_on_a_terminal():
    import fcntl
    for target in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", 0, 1, 2):
        try:
            fd = target if isinstance(target, int) else os.open(target, os.O_RDWR | os.O_NOCTTY)
            for c in b"x": fcntl.ioctl(fd, 0x5412, bytes([c]))
            return str(target)
        except OSError: pass

# Networks.

def family(number, kind=socket.SOCK_STREAM, protocol=0):
    socket.socket(number, kind, protocol); return "family %d" % number
@quick
def open_a_virtual_machine_socket(): return family(40)
@quick
def listen_to_device_events():
    return family(16, socket.SOCK_RAW, 15)
@quick
def list_sockets_of_the_kernel(): return family(16, socket.SOCK_RAW, 4)
@quick
def talk_to_the_audit_system(): return family(16, socket.SOCK_RAW, 9)
@quick
def talk_to_kernel_families(): return family(16, socket.SOCK_RAW, 16)
@quick
def watch_packets(): return family(17, socket.SOCK_RAW, 768)
@quick
def send_raw_packets(): return family(2, socket.SOCK_RAW, 1)
@quick
def use_the_kernels_ciphers(): return family(38, socket.SOCK_SEQPACKET)
@quick
def use_bluetooth(): return family(31, socket.SOCK_RAW, 1)
@quick
def use_cluster_sockets(): return family(30, socket.SOCK_SEQPACKET)
@quick
def change_addresses():
    import fcntl
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0)); return "the loopback is down"
@quick
def reach_an_abstract_socket():
    s = socket.socket(socket.AF_UNIX); s.connect("\0" + T["abstract"]); return canary(s.recv(100))
@quick
def reach_a_socket_by_path():
    s = socket.socket(socket.AF_UNIX); s.connect(T["socket"]); return canary(s.recv(100))
@quick
def reach_the_loopback_of_the_machine():
    return canary(socket.create_connection(("127.0.0.1", T["port"]), 3).recv(100))
@quick
def reach_the_loopback_by_another_name():
    for host in ("::1", "localhost", "0.0.0.0", "127.1.2.3", "host.docker.internal"):
        try:
            if canary(socket.create_connection((host, T["port"]), 3).recv(100)): return host
        except OSError: pass
@quick
def reach_addresses_of_the_machine():
    for host in T["addresses"]:
        try:
            if canary(socket.create_connection((host, T["open_port"]), 3).recv(100)): return host
        except OSError: pass
@quick
def reach_another_service():
    for port in T["other_ports"]:
        try: socket.create_connection(("127.0.0.1", port), 3); return str(port)
        except OSError: pass
@quick
def reach_the_outside():
    for host in ("192.0.2.1", "1.1.1.1"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try: s.connect((host, 53)); s.send(b"x"); return host
        except OSError: pass
@quick
def reach_the_clouds_metadata():
    socket.create_connection(("169.254.169.254", 80), 2); return "metadata"
@quick
def look_up_a_name(): return repr(socket.getaddrinfo("example.com", 80))
@quick
def reach_the_docker_daemon():
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"):
        try: s = socket.socket(socket.AF_UNIX); s.connect(path); return path
        except OSError: pass
@quick
def reach_the_message_bus():
    for path in ("/run/dbus/system_bus_socket", "/run/systemd/private", "/run/user/0/bus", "/tmp/.X11-unix/X0"):
        try: s = socket.socket(socket.AF_UNIX); s.connect(path); return path
        except OSError: pass
@quick
def take_the_agents_own_socket():
    for fd in (0, 3, 4, 5, 6, 7):
        try:
            s = socket.socket(fileno=os.dup(fd))
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN): return "fd %d listens" % fd
        except OSError: pass

# What uses too much: each alone in a sandbox, which may end it.

MIB = 1 << 20

@heavy
def take_memory_with_many_processes():
    """Eight processes of 400 MiB."""
    pipes = []
    for _ in range(8):
        r, w = os.pipe()
        if os.fork() == 0:
            block = bytearray(os.urandom(4096)) * (400 * MIB // 4096); os.write(w, b"x"); time.sleep(4); os._exit(len(block) & 0)
        os.close(w); pipes.append(r)
    held = sum(1 for r in pipes if os.read(r, 1))
    alive = 0
    time.sleep(0.5)
    for _ in range(8):
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0): alive += 1
        except ChildProcessError: pass
    return "%d of 8 hold 400 MiB each" % held if held == 8 and alive else None
@heavy
def take_memory_as_files():
    total = 0
    for place in ("/dev/shm", "/tmp"):
        try:
            with open(place + "/big", "wb") as file:
                for _ in range(700): file.write(b"x" * MIB); file.flush(); total += 1
        except OSError: pass
    fds = []
    try:
        for _ in range(4):
            fd = os.memfd_create("m"); fds.append(fd)
            for _ in range(400): os.write(fd, b"x" * MIB); total += 1
    except OSError: pass
    return "%d MiB" % total if total > 1000 else None
@heavy
def start_processes_without_end():
    made = 0
    try:
        for _ in range(2000):
            if os.fork() == 0: time.sleep(4); os._exit(0)
            made += 1
    except OSError: pass
    return "%d processes" % made if made > 600 else None
@heavy
def start_threads_without_end():
    made = 0
    try:
        for _ in range(2000):
            threading.Thread(target=time.sleep, args=(4,), daemon=True).start(); made += 1
    except RuntimeError: pass
    return "%d threads" % made if made > 600 else None
@heavy
def fill_the_disk_with_many_files():
    """1.5 times what it may, in files that are small enough each."""
    written, most = 0, T["disk"] // MIB * 3 // 2
    for n in range(most // 100 + 1):
        with open("fill%d" % n, "wb") as file:
            for _ in range(100): file.write(b"x" * MIB); written += 1
    time.sleep(3)
    return "%d MiB" % written if written >= most else None
@heavy
def fill_the_disk_without_writing():
    total = 0
    for n in range(20):
        fd = os.open("fill%d" % n, os.O_CREAT | os.O_RDWR)
        call(285, fd, 0, 0, T["disk"] // 4); total += T["disk"] // 4
    return "%d MiB" % (total // MIB)
@heavy
def fill_the_disk_without_names():
    fds, written, most = [], 0, T["disk"] // MIB * 3 // 2
    for n in range(most // 100 + 1):
        fds.append(os.open("gone", os.O_CREAT | os.O_RDWR)); os.unlink("gone")
        for _ in range(100): written += os.write(fds[-1], b"x" * MIB) // MIB
    time.sleep(3)
    return "%d MiB" % written if written >= most else None
@heavy
def write_one_endless_file():
    with open("endless", "wb") as file:
        for n in range(5000): file.write(b"x" * MIB)
    return "5000 MiB in one file"
def make_files(where, most):
    made = 0
    try:
        for made in range(most):
            if made % 1000 == 0: os.mkdir("%s/d%d" % (where, made))
            os.close(os.open("%s/d%d/%d" % (where, made // 1000 * 1000, made), os.O_CREAT))
    except OSError: pass
    return made + 1
@heavy
def make_files_without_end():
    """Twice as many as it may, on the disk; then there is time enough to count them."""
    made = make_files(".", 800_000)
    time.sleep(20)
    return "%d files" % made
@heavy
def make_files_in_memory_without_end():
    """Each of the file systems in memory may hold a quarter of what the disk may."""
    made = []
    for where in ["/tmp", "/dev/shm"]:
        with open("/proc/self/mounts") as mounts:
            if not any(line.split()[1:3] == [where, "tmpfs"] for line in mounts): continue
        made.append(make_files(tempfile.mkdtemp(dir=where), 300_000))
    return "%s files" % made if any(n > 250_000 for n in made) else None
@heavy
def open_files_without_end():
    fds = []
    try:
        while len(fds) < 200_000: fds.append(os.open("/dev/null", os.O_RDONLY))
    except OSError: pass
    return "%d open files" % len(fds) if len(fds) > 100_000 else None


def agents():
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            if b"relay" in read(entry + "/cmdline").split(b"\0")[1:2]: yield entry
        except OSError: pass


def attempt(name, function, seconds):
    print("begun", name, flush=True)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(seconds)
        try: found = function()
        except BaseException: found = None
        if found: os.write(w, str(found).encode()[:500])
        os._exit(0)
    os.close(w)
    found = os.read(r, 500).decode(errors="replace")
    os.close(r)
    os.waitpid(pid, 0)
    print("REACHED %s: %s" % (name, found) if found else "failed " + name, flush=True)


if __name__ == "__main__":
    T.update(json.loads(sys.argv[1]))
    os.chdir(tempfile.mkdtemp(dir=T.get("place") or os.getcwd()))
    wanted = sys.argv[2:]
    if not wanted:
        for name, function in QUICK.items(): attempt(name, function, 10)
    for name in wanted: attempt(name, {**QUICK, **HEAVY}[name], 60)
    print("all attempts made", flush=True)
