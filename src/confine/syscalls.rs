//! System calls that are refused in sandboxes, because they access resources without namespaces, or because
//! no build, service or agent needs them. Refused calls fail with an error; the program continues.

use std::collections::BTreeMap;

use nix::errno::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use serde_json::{Value, json};
use syscalls::Sysno;

/// Refused with any arguments.
const REFUSED: &[&str] = &[
    // Keys of the user session and of the machine.
    "add_key",
    "keyctl",
    "request_key",
    // Asynchronous work of the kernel, which bypasses this filter.
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    // New namespaces, and those of others.
    "setns",
    "unshare",
    // Mounts.
    "chroot",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "umount",
    "umount2",
    // Files without a path, and events of whole file systems.
    "fanotify_init",
    "fanotify_mark",
    "name_to_handle_at",
    "open_by_handle_at",
    // Kernel modules, log, settings and clock.
    "_sysctl",
    "acct",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "finit_module",
    "get_kernel_syms",
    "init_module",
    "kexec_file_load",
    "kexec_load",
    "lookup_dcookie",
    "nfsservctl",
    "perf_event_open",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "uselib",
    "ustat",
    "vhangup",
    // Devices and memory of the machine.
    "get_mempolicy",
    "ioperm",
    "iopl",
    "mbind",
    "migrate_pages",
    "modify_ldt",
    "move_pages",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "vm86",
    "vm86old",
    // Often used by exploits.
    "kcmp",
    "pidfd_getfd",
    "userfaultfd",
];

/// Refused as unknown, so that the C library falls back to the older call, whose arguments can be checked.
const UNKNOWN: &[&str] = &["clone3"];

/// Refused as not supported: space can be allocated faster than any watch can react.
const UNSUPPORTED: &[&str] = &["fallocate"];

/// Calls that are allowed depending on their arguments.
const CONDITIONAL: &[&str] = &["clone", "ioctl", "personality", "socket", "socketpair"];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`.
const NAMESPACES: [u64; 7] =
    [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
/// Address families: local, the two internet protocols, and netlink for network interfaces.
const LOCAL: u64 = 1;
const INTERNET: [u64; 2] = [2, 10];
const NETLINK: u64 = 16;
const NETLINK_ROUTE: u64 = 0;
/// `TIOCSTI` and `TIOCLINUX`, which inject input into a terminal.
const TYPING: [u64; 2] = [0x5412, 0x541c];
/// Allowed arguments of `personality`: the default, 32 bits, and queries.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Exceptions of a filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    /// Whether local sockets are allowed; not if abstract sockets of the machine would be reachable.
    pub(super) local_sockets: bool,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The filter as BPF programs, which all apply.
pub(super) fn programs(leave: Leave) -> Result<Vec<Vec<u8>>, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let errno = |errno: Errno| SeccompAction::Errno((errno as i32).unsigned_abs());
    let mut known = all(Sysno::iter().map(|call| call.name()));
    UNKNOWN.iter().filter_map(|name| number(name)).for_each(|number| drop(known.remove(&number)));
    let filters = [
        (known, errno(Errno::ENOSYS), SeccompAction::Allow),
        (refused(leave).map_err(|e| e.to_string())?, SeccompAction::Allow, errno(Errno::EPERM)),
        (all(UNSUPPORTED.iter().copied()), SeccompAction::Allow, errno(Errno::EOPNOTSUPP)),
    ];
    let compile = |(rules, otherwise, matched)| -> Result<Vec<u8>, String> {
        let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|e| e.to_string())?;
        Ok(bytes(&BpfProgram::try_from(filter).map_err(|e| e.to_string())?))
    };
    filters.into_iter().map(compile).collect()
}

fn bytes(program: &BpfProgram) -> Vec<u8> {
    let instruction = |i: &seccompiler::sock_filter| {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&i.code.to_ne_bytes());
        (bytes[2], bytes[3]) = (i.jt, i.jf);
        bytes[4..].copy_from_slice(&i.k.to_ne_bytes());
        bytes
    };
    program.iter().flat_map(instruction).collect()
}

/// The number of a call on this architecture, if it exists.
fn number(name: &str) -> Option<i64> {
    name.parse::<Sysno>().ok().map(|call| i64::from(call.id()))
}

fn all<'a>(names: impl Iterator<Item = &'a str>) -> Rules {
    names.filter_map(number).map(|number| (number, Vec::new())).collect()
}

fn refused(leave: Leave) -> seccompiler::Result<Rules> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let rule = |conditions: &[(u8, SeccompCmpOp, u64)]| {
        let condition = |(index, op, value): &(u8, SeccompCmpOp, u64)| {
            SeccompCondition::new(*index, SeccompCmpArgLen::Dword, op.clone(), *value)
        };
        SeccompRule::new(conditions.iter().map(condition).collect::<Result<_, _>>()?)
    };
    let other_than = |values: &[u64]| values.iter().map(|value| (0, Ne, *value)).collect::<Vec<_>>();
    let mut sockets = vec![
        rule(&other_than(&[&[LOCAL, NETLINK], &INTERNET[..]].concat()))?,
        rule(&[(0, Eq, NETLINK), (2, Ne, NETLINK_ROUTE)])?,
    ];
    if !leave.local_sockets {
        sockets.push(rule(&[(0, Eq, LOCAL)])?);
    }
    let conditional = [
        (
            "clone",
            NAMESPACES.iter().map(|flag| rule(&[(0, MaskedEq(*flag), *flag)])).collect::<Result<_, _>>()?,
        ),
        ("ioctl", TYPING.iter().map(|request| rule(&[(1, Eq, *request)])).collect::<Result<_, _>>()?),
        ("personality", vec![rule(&other_than(&PERSONALITIES))?]),
        ("socket", sockets),
        ("socketpair", vec![rule(&other_than(&[LOCAL]))?]),
    ];
    let mut rules = all(REFUSED.iter().copied());
    rules.extend(conditional.into_iter().filter_map(|(name, rules)| Some((number(name)?, rules))));
    Ok(rules)
}

/// The filter as a seccomp profile for Docker. A container has its own terminals, so `ioctl` is allowed.
pub fn docker_profile() -> String {
    let special = [REFUSED, UNKNOWN, UNSUPPORTED, CONDITIONAL].concat();
    let mut allowed: Vec<&str> =
        Sysno::iter().map(|call| call.name()).filter(|name| !special.contains(name)).collect();
    allowed.push("ioctl");
    let refuse = |names: &[&str], errno: Errno| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno as i32});
    let allow = |name: &str, arguments: &[(u32, u64)]| {
        let equal =
            |(index, value): &(u32, u64)| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
        let arguments: Vec<Value> = arguments.iter().map(equal).collect();
        json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": arguments})
    };
    let no_namespace = json!({"index": 0, "value": NAMESPACES.iter().sum::<u64>(), "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"});
    let mut rules = vec![
        json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}),
        refuse(REFUSED, Errno::EPERM),
        refuse(UNKNOWN, Errno::ENOSYS),
        refuse(UNSUPPORTED, Errno::EOPNOTSUPP),
        json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespace]}),
        allow("socket", &[(0, LOCAL)]),
        allow("socket", &[(0, NETLINK), (2, NETLINK_ROUTE)]),
        allow("socketpair", &[(0, LOCAL)]),
    ];
    rules.extend(INTERNET.iter().map(|family| allow("socket", &[(0, *family)])));
    rules.extend(PERSONALITIES.iter().map(|value| allow("personality", &[(0, *value)])));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": Errno::ENOSYS as i32,
        "syscalls": rules,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_call_is_a_call() {
        // Calls of 32-bit systems only.
        let elsewhere =
            ["stime", "umount", "vm86", "vm86old", "create_module", "get_kernel_syms", "query_module"];
        for name in [REFUSED, UNKNOWN, UNSUPPORTED, CONDITIONAL].concat() {
            assert!(
                number(name).is_some() || elsewhere.contains(&name) || cfg!(not(target_arch = "x86_64")),
                "{name}"
            );
        }
    }

    #[test]
    fn the_programs_are_within_what_the_kernel_takes() {
        for local_sockets in [true, false] {
            for program in programs(Leave { local_sockets }).unwrap() {
                assert!(program.len() % 8 == 0 && program.len() / 8 <= 4096, "{}", program.len());
            }
        }
    }

    #[test]
    fn dockers_profile_names_each_call_once_or_by_its_arguments() {
        let profile: Value = serde_json::from_str(&docker_profile()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for rule in profile["syscalls"].as_array().unwrap() {
            for name in rule["names"].as_array().unwrap() {
                assert!(
                    seen.insert(name.as_str().unwrap().to_owned()) || rule.get("args").is_some(),
                    "{name}"
                );
            }
        }
        assert!(seen.contains("openat") && seen.contains("keyctl") && seen.contains("ioctl"));
    }
}
