//! What the process may hold in memory, where the config leaves that to the machine: a part of what the machine has, or
//! of what the tightest of the control groups that the process is in may use.

use std::fs;
use std::path::Path;

use crate::model::settings::MemoryBound;

/// In hundredths: the rest is for what the system holds for sockets, which is counted to the group too.
const PERCENT: u64 = 80;
const MEMORY_INFO: &str = "/proc/meminfo";
const GROUPS: &str = "/proc/self/cgroup";
const GROUP_FILES: &str = "/sys/fs/cgroup";
/// Where a group's bound is: in the one tree of version 2, and in version 1 in a tree for memory alone.
const BOUND_FILES: [(&str, &str); 2] = [("", "memory.max"), ("memory", "memory.limit_in_bytes")];

/// Returns how many bytes the process may hold, if that is bounded or can be known.
pub(super) fn bound(declared: MemoryBound) -> Option<u64> {
    match declared {
        MemoryBound::Auto => available(Path::new(GROUP_FILES)).map(|bytes| bytes / 100 * PERCENT),
        MemoryBound::Bytes(bytes) => Some(bytes),
        MemoryBound::Unbounded => None,
    }
}

fn available(group_files: &Path) -> Option<u64> {
    let machine = fs::read_to_string(MEMORY_INFO).ok().and_then(|text| total_in(&text));
    let groups = fs::read_to_string(GROUPS).unwrap_or_default();
    let group = groups.lines().filter_map(|line| tightest(group_files, line)).min();
    machine.into_iter().chain(group).min()
}

/// Returns the bytes of the line `MemTotal:  1234 kB`.
fn total_in(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Returns the least that a group of a line `id:controllers:/path`, or one that it is in, may use.
fn tightest(group_files: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (tree, file) = BOUND_FILES.into_iter().find(|(tree, _)| controllers.split(',').any(|one| one == *tree))?;
    let path = Path::new(path.trim_start_matches('/'));
    let bound =
        |group: &Path| fs::read_to_string(group_files.join(tree).join(group).join(file)).ok()?.trim().parse().ok();
    path.ancestors().filter_map(bound).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_is_the_tightest_of_the_groups_and_a_word_is_none() {
        let files = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = files.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("memory.max", "max\n");
        write("a/memory.max", "500000\n");
        write("a/b/memory.max", "max\n");
        write("memory/x/memory.limit_in_bytes", "400000\n");
        let of = |line| tightest(files.path(), line);
        assert_eq!(of("0::/a/b"), Some(500_000));
        assert_eq!(of("0::/"), None);
        assert_eq!(of("4:memory:/x/y"), Some(400_000));
        assert_eq!(of("3:cpu,cpuacct:/x"), None);
        assert_eq!((of(""), of("0"), of("0::/../..")), (None, None, None));
    }

    #[test]
    fn machine_says_what_it_has() {
        assert_eq!(total_in("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total_in("MemFree: 1 kB\n"), None);
        let auto = bound(MemoryBound::Auto).unwrap();
        assert!(auto > 1 << 20, "{auto}");
        assert_eq!((bound(MemoryBound::Bytes(7)), bound(MemoryBound::Unbounded)), (Some(7), None));
    }
}
