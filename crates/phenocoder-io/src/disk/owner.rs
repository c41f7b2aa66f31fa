//! Who left something behind: the machine since it was started, and the process.

use std::fmt;
use std::fs;
use std::sync::OnceLock;

/// A process, of whichever machine.
///
/// Linux tells all of it; elsewhere the machine is not known, and all processes of unknown machines are taken for those
/// of this machine. A machine that is known is never one that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// A machine since it was started, from its boot id; 0 when that is not known.
    host: u32,
    /// A machine however often it was started, from its machine id; 0 when that is not known.
    ///
    /// Copies of virtual machines and of containers may have one in common.
    machine: u32,
    /// In which of its spaces of process numbers, as each container has one; 0 when that is not known.
    space: u32,
    process: u32,
    /// When the process was started, in ticks since the machine was; 0 when that is not known.
    start: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            machine,
            space,
            process,
            start,
        } = self;
        write!(f, "{host:08x}{space:08x}{machine:08x}-{process}-{start}")
    }
}

impl Owner {
    /// This process.
    pub(crate) fn own() -> Self {
        static OWN: OnceLock<Owner> = OnceLock::new();
        *OWN.get_or_init(|| Self {
            host: fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| known(&id)),
            machine: fs::read("/etc/machine-id").map_or(0, |id| machine(&id)),
            space: fs::read_link("/proc/self/ns/pid")
                .map_or(0, |link| known(link.as_os_str().as_encoded_bytes())),
            process: std::process::id(),
            start: start_of("self").unwrap_or(0),
        })
    }

    /// The owner that a name ends in.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if is_number(text) {
            // A number alone is a process of which nothing more is known.
            return Some(Self {
                host: 0,
                machine: 0,
                space: 0,
                process: text.parse().unwrap_or(0),
                start: 0,
            });
        }
        let mut parts = text.split('-');
        let (place, process, start) = (parts.next()?, parts.next()?, parts.next()?);
        let is_place =
            matches!(place.len(), 16 | 24) && place.bytes().all(|b| b.is_ascii_hexdigit());
        if parts.next().is_some() || !is_place || !is_number(process) || !is_number(start) {
            return None;
        }
        Some(Self {
            host: u32::from_str_radix(place.get(..8)?, 16).ok()?,
            space: u32::from_str_radix(place.get(8..16)?, 16).ok()?,
            machine: match place.get(16..)? {
                "" => 0,
                machine => u32::from_str_radix(machine, 16).ok()?,
            },
            process: process.parse().ok()?,
            start: start.parse().ok()?,
        })
    }

    /// Whether it ran on this machine, which has not been started anew since.
    pub(crate) fn is_here(&self) -> bool {
        self.host == Self::own().host
    }

    /// Whether it ran on this machine before that was started anew, and what it made was not changed since.
    ///
    /// `changed` is when that was, in seconds since 1970. Copies of a machine have its machine id: of two writers that
    /// have, the other one would have to be at work since before this machine was started.
    pub(crate) fn is_of_earlier_boot(&self, changed: Option<u64>) -> bool {
        let own = Self::own();
        let is_same = own.machine != 0 && own.machine == self.machine;
        let is_other_boot = own.host != 0 && self.host != 0 && own.host != self.host;
        let is_before = || changed.zip(boot_time()).is_some_and(|(c, boot)| c < boot);
        is_same && is_other_boot && is_before()
    }

    /// Whether it is another process that still runs here, as far as that can be seen.
    pub(crate) fn runs(&self) -> bool {
        let own = Self::own();
        let can_be_seen = self.is_here() && self.space == own.space && self.start != 0;
        can_be_seen && *self != own && start_of(&self.process.to_string()) == Some(self.start)
    }

    /// Whether it is a process of this machine of which one can see that it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let own = Self::own();
        let can_be_seen = own.host != 0 && self.is_here() && self.space == own.space;
        can_be_seen && self.start != 0 && *self != own && !self.runs()
    }
}

/// When a process was started; `None` for one that has ended.
fn start_of(process: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, which may hold anything, is in parentheses; see proc(5).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// When this machine was started, in seconds since 1970.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// A machine that has not been set up has no id yet, or this word.
fn machine(id: &[u8]) -> u32 {
    match id.trim_ascii() {
        b"" | b"uninitialized" => 0,
        id => known(id),
    }
}

/// A number for what is known; it is not 0.
fn known(bytes: &[u8]) -> u32 {
    hash(bytes).max(1)
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_told_apart_by_machine_container_and_start() {
        let own = Owner::own();
        assert_eq!(Owner::parse(&own.to_string()), Some(own));
        assert!(own.is_here() && !own.runs());
        let other = Owner {
            host: own.host ^ 1,
            ..own
        };
        assert!(!other.is_here() && !other.runs());
        // Two containers whose only process has the number 1.
        let first = Owner { process: 1, ..own };
        let second = Owner {
            space: own.space ^ 1,
            start: own.start + 1,
            ..first
        };
        assert_ne!(first.to_string(), second.to_string());
        // Of whom nothing is known is of this machine only where this one is not known either.
        let unknown = Owner::parse("77").unwrap();
        assert_eq!(unknown.is_here(), own.host == 0);
        assert!(!unknown.runs() && !unknown.has_ended());
        let short = "0123456789abcdef-1-5";
        assert_eq!(Owner::parse(short).unwrap().machine, 0);
        assert!(!cfg!(target_os = "linux") || (own.host != 0 && own.space != 0));
        for bad in [
            "",
            "1a",
            "1-2",
            "0000000000000000-1",
            "0000000000000000-1-2-3",
            "+-1-2",
        ] {
            assert_eq!(Owner::parse(bad), None, "{bad}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_machine_that_was_started_anew_knows_what_it_left_before() {
        let own = Owner::own();
        let earlier = Owner {
            host: own.host ^ 1,
            ..own
        };
        let boot = boot_time().unwrap();
        assert_eq!(earlier.is_of_earlier_boot(Some(boot - 1)), own.machine != 0);
        assert!(!earlier.is_of_earlier_boot(Some(boot)));
        assert!(!earlier.is_of_earlier_boot(None));
        let unknown = [
            own,
            Owner { host: 0, ..own },
            Owner {
                machine: 0,
                ..earlier
            },
            Owner {
                machine: own.machine ^ 1,
                ..earlier
            },
        ];
        for other in unknown {
            assert!(!other.is_of_earlier_boot(Some(0)), "{other}");
        }
        assert_eq!([machine(b"\n"), machine(b"uninitialized\n")], [0, 0]);
        assert_eq!(machine(b"ab\n"), machine(b"ab"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_runs_until_it_ends() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let owner = Owner {
            process: child.id(),
            start: start_of(&child.id().to_string()).unwrap(),
            ..Owner::own()
        };
        assert!(owner.runs() && !owner.has_ended());
        let earlier = Owner {
            start: owner.start - 1,
            ..owner
        };
        assert!(!earlier.runs(), "another process had the number");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!owner.runs() && owner.has_ended());
        assert!(!Owner::own().has_ended());
    }
}
