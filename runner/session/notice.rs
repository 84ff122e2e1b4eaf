//! [`Notice`]: what whoever asked for something should know beside the answer.

use std::{io, path::Path};

use crate::{
    model::{Grants, Limits, ProviderId},
    plugin::Heard,
    record::{RunId, Swept},
    run::{LeftToOthers, Reduced},
    toolchain::{Built, Source},
    view::NotifiedTarget,
};

/// What whoever asked for something should know beside the answer. The words for it are the observer's.
pub enum Notice<'a> {
    /// Another process was asked to end a run, and has to answer.
    AwaitingEnd {
        /// The run.
        run: &'a RunId,
    },
    /// A request that was answered is still in the run's directory.
    RequestStays {
        /// Why it cannot be taken back.
        error: &'a io::Error,
    },
    /// A plugin is used although its source has changed since it was built.
    Stale(&'a Source),
    /// A plugin that is named by its folder is used although its source has changed since it was built.
    StaleFile(&'a Source),
    /// A plugin's build tools begin.
    Building(&'a Source),
    /// They have printed a line.
    BuildLine(&'a str),
    /// A plugin was built.
    Built(&'a Built),
    /// A grant does nothing.
    IdleGrant {
        /// The provider that has it.
        provider: &'a ProviderId,
        /// Why.
        why: &'a str,
    },
    /// No test names a grader.
    IdleGrader {
        /// The grader.
        grader: &'a str,
    },
    /// A key of a matrix makes providers that differ in their names alone.
    IdleAxis {
        /// The table with the matrix.
        provider: &'a str,
        /// The key.
        key: &'a str,
    },
    /// Further grants do nothing.
    MoreIdleGrants(usize),
    /// A secret is so short that it is not redacted.
    ShortSecret {
        /// Its name.
        name: &'a str,
    },
    /// A file of secrets can be read by others than its owner.
    ReadableSecrets {
        /// The file.
        path: &'a Path,
    },
    /// The run gets less than it asked for.
    Reduced(&'a Reduced),
    /// The run works with less of the machine than it would if no other run were there.
    LeftToOthers(&'a LeftToOthers),
    /// Runs whose processes had died got the status that is true of them.
    Swept(&'a [Swept]),
    /// The session waits until it is alone in its results root.
    AwaitingOthers {
        /// The results root.
        root: &'a Path,
    },
    /// A scenario is not what it was when its run began; the stored one is used.
    ScenarioChanged {
        /// Its file.
        path: &'a Path,
        /// The lines that differ, as a unified diff has them; none if the stored one cannot be read.
        diff: &'a [String],
    },
    /// So are the grants of a provider.
    GrantsChanged {
        /// The provider.
        provider: &'a ProviderId,
    },
    /// So is the plugin of a provider.
    PluginChanged {
        /// The provider.
        provider: &'a str,
    },
    /// Changes were to be adopted, and there are none.
    NothingChanged,
    /// The grants of a provider are others than when the run began, and are adopted.
    GrantsAdopted {
        /// The provider.
        provider: &'a ProviderId,
    },
    /// Changes are adopted.
    Adopting {
        /// How many trials of the run have changed.
        changed: u64,
        /// How many are new.
        added: u64,
    },
    /// A command is called by the JSON protocol because it answers to it, and not because anybody said so.
    CalledAsJson,
    /// A plugin that is called outside of any run asks for more than it is granted.
    NotGranted {
        /// What is not granted, in the plugin's words.
        requests: &'a [&'a str],
        /// What it is granted.
        granted: &'a Grants,
        /// The same and all that it asks for, as far as it is understood.
        wanted: &'a Grants,
        /// What it may use.
        limits: &'a Limits,
    },
    /// Of several calls of a plugin this is the last one; what it said follows.
    LastCallSaid {
        /// Which call it was, from 1.
        number: u32,
        /// How many were asked for.
        of: u32,
    },
    /// A plugin that is called outside of any run says something.
    Heard(Heard<'a>),
    /// A report of the run is written.
    Report {
        /// Where it is.
        path: &'a Path,
    },
    /// Stored outputs are judged again by graders, which takes long.
    Grading {
        /// How many judgements are on disk.
        judged: u64,
        /// Of how many trials that were read graders have still to speak.
        waiting: u64,
        /// How many graders are being asked.
        running: usize,
    },
    /// Graders are asked no more; why, for people.
    StoppingGraders(&'a str),
    /// Only what is expected of trials of the run has changed: they are judged again, and do not run.
    JudgingAgain {
        /// How many.
        changed: u64,
    },
    /// Somebody was told of the run's end, or could not be.
    Notified(&'a NotifiedTarget),
    /// Trials of the run came to no verdict, and do not run again without being asked for.
    Unjudged(u64),
}

impl Notice<'_> {
    /// Tells whether it says how a plugin is called outside of any run, most of which the answer has as well.
    pub fn is_of_rehearsal(&self) -> bool {
        matches!(
            self,
            Self::CalledAsJson
                | Self::NotGranted { .. }
                | Self::LastCallSaid { .. }
                | Self::Heard(_)
        )
    }
}
