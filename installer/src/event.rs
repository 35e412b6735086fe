// installer/src/event.rs
//! What the installer tells while it works. Plain data: how it is shown is the caller's affair.

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An earlier command was interrupted, and its transaction has now been brought to an end.
    Recovered {
        /// Number of the transaction.
        number: i64,
        /// Whether it went forward to the new state, or back to the old one.
        forward: bool,
    },
    /// Packages are being brought into the root's store.
    Importing {
        /// The spec of the first.
        spec: String,
        /// How many come with it.
        others: usize,
    },
    /// The root's store has every object that the changeset needs.
    Ingested {
        /// How many troves came in.
        troves: usize,
    },
    /// Progress of staging.
    Staging {
        /// Things staged so far.
        done: usize,
        /// Things to stage.
        total: usize,
    },
    /// The commit point is passed: the changeset happens, whatever comes.
    Committed {
        /// Its number.
        number: i64,
    },
    /// The changeset is complete.
    Settled {
        /// Its number.
        number: i64,
    },
    /// A scriptlet is run.
    Script {
        /// Which.
        script: String,
    },
    /// A trigger is run.
    Trigger {
        /// Its name.
        name: String,
    },
    /// Something that the user should know.
    Warning(Warning),
}

/// Something that went on without an error, and that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Nobody is known to give what a trove was found to use.
    Unmet {
        /// The trove.
        trove: String,
        /// What it uses.
        requirement: String,
    },
    /// A trove recommends something that is not installed.
    Recommended {
        /// The trove.
        trove: String,
        /// What it recommends.
        requirement: String,
    },
    /// The root knows no such user or group: 0 is used.
    UnknownOwner {
        /// The name.
        name: String,
        /// Whether it is a group.
        group: bool,
    },
    /// Set-id bits or extended attributes were left off, because an ordinary user cannot set them.
    NotApplied {
        /// The path.
        path: Vec<u8>,
        /// What was left off.
        what: &'static str,
    },
    /// Something appeared or changed while the changeset was applied; it was moved aside.
    MovedAside {
        /// Where it lay.
        path: Vec<u8>,
        /// Where it lies now.
        to: Vec<u8>,
    },
    /// Something changed while the changeset was applied and was left alone.
    LeftAlone {
        /// The path.
        path: Vec<u8>,
    },
    /// A directory could not be removed because others use it.
    DirectoryKept {
        /// The path.
        path: Vec<u8>,
    },
    /// Somebody deleted a staged thing after the commit point.
    Lost {
        /// The path.
        path: Vec<u8>,
    },
    /// The file system cannot exchange two names, so one was moved over the other; told once in a transaction.
    NoExchange {
        /// The first such path.
        path: Vec<u8>,
    },
    /// What the database could be rebuilt from was not written.
    NotExported {
        /// Why.
        why: String,
    },
    /// A scriptlet is not run, because that was asked for.
    ScriptSkipped {
        /// Which.
        script: String,
    },
    /// A number that a package wants for an account belongs to somebody else: another one is used.
    IdTaken {
        /// The account.
        name: String,
        /// The number.
        id: u32,
    },
    /// An account that no package wants any more stays: it was edited, or still owns something.
    AccountKept {
        /// Its name.
        name: String,
    },
    /// Triggers failed earlier and have not run since.
    Degraded {
        /// Their names.
        names: Vec<String>,
    },
    /// A transaction is unfinished, and this command may not finish it.
    Unfinished {
        /// Its number.
        number: i64,
    },
}
