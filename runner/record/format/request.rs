//! Requests to stop a run that another process owns: one file per mode in the run's directory.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::{by::By, words};
use crate::{
    model::{Actor, StopMode},
    record::disk::{durable, layout::RunDir, regular},
};

/// What a request says beside its mode.
#[derive(Serialize, Deserialize)]
struct Text {
    session: u32,
    /// The holding of the run's lock that is asked, by its token: no later one takes it for its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// For people, and for runners that do not know `by`.
    who: String,
    #[serde(with = "words::instant")]
    at: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<By>,
    /// Whether the run is to be paused; only where that is what is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
}

/// A request that a run pauses, or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseRequest {
    /// Whether it is to be paused.
    pub is_paused: bool,
    /// Who asks.
    pub actor: Actor,
}

/// Who is asked: the process that holds a run's lock for a session, which it may be about to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The session.
    pub session: u32,
    /// What tells this holding of the lock from every other; absent where its holder could not write it down, and where
    /// that is a runner which knows none.
    pub token: Option<String>,
}

/// A request that is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// How hard the run is to stop.
    pub mode: StopMode,
    /// Who asks; a runner of before does not say.
    pub actor: Option<Actor>,
}

/// Asks whoever holds a run to stop; asking again changes nothing.
pub fn request(run_dir: &Path, mode: StopMode, asked: &Holding, actor: &Actor) -> io::Result<()> {
    write(&RunDir::new(run_dir).request(mode), asked, actor, None)
}

/// Asks whoever holds a run to pause, or to go on. Who asks last is heard.
pub fn ask_pause(run_dir: &Path, asked: &Holding, request: &PauseRequest) -> io::Result<()> {
    let path = RunDir::new(run_dir).pause_request();
    write(&path, asked, &request.actor, Some(request.is_paused))
}

/// The request to pause or to go on that concerns a holding, answered or not.
pub fn pending_pause(run_dir: &Path, holding: &Holding) -> Option<PauseRequest> {
    let text = read(&RunDir::new(run_dir).pause_request())?;
    let text = Some(text).filter(|text| text.concerns(holding))?;
    Some(PauseRequest {
        is_paused: text.paused?,
        actor: text.by?.into(),
    })
}

/// Takes back what one asked, once it is answered or nobody is there who could answer.
pub fn withdraw_pause(run_dir: &Path, actor: &Actor) -> io::Result<()> {
    withdraw_from(&RunDir::new(run_dir).pause_request(), actor)
}

fn write(path: &Path, asked: &Holding, actor: &Actor, paused: Option<bool>) -> io::Result<()> {
    let text = Text {
        session: asked.session,
        token: asked.token.clone(),
        who: format!("pid {}, {actor}", actor.pid),
        at: actor.at,
        by: Some(actor.into()),
        paused,
    };
    let bytes = serde_json::to_vec(&text).expect("a request can be written as JSON");
    durable::replace_unsynced(path, &bytes)
}

/// The strongest request that concerns a holding; those that name an earlier one came too late.
pub fn pending(run_dir: &Path, holding: &Holding) -> Option<Pending> {
    let dir = RunDir::new(run_dir);
    let strongest_first = StopMode::ALL.into_iter().rev();
    strongest_first.into_iter().find_map(|mode| {
        let text = read(&dir.request(mode)).filter(|text| text.concerns(holding))?;
        let actor = text.by.map(Actor::from);
        Some(Pending { mode, actor })
    })
}

/// Takes back what one asked, once it is answered or nobody is there who could answer; not what others have asked since.
pub fn withdraw(run_dir: &Path, mode: StopMode, actor: &Actor) -> io::Result<()> {
    withdraw_from(&RunDir::new(run_dir).request(mode), actor)
}

fn withdraw_from(path: &Path, actor: &Actor) -> io::Result<()> {
    let is_mine = read(path).is_some_and(|text| text.by == Some(By::from(actor)));
    if is_mine {
        durable::remove(path)?;
    }
    Ok(())
}

/// Forgets all requests, once they are answered; but not those that concern the holding which begins, if one does.
pub(in crate::record) fn clear(run_dir: &Path, begins: Option<&Holding>) -> io::Result<()> {
    let dir = RunDir::new(run_dir);
    let stops = StopMode::ALL.into_iter().map(|mode| dir.request(mode));
    stops.chain([dir.pause_request()]).try_for_each(|path| {
        let stays =
            begins.is_some_and(|holding| read(&path).is_some_and(|text| text.concerns(holding)));
        if stays {
            return Ok(());
        }
        durable::remove(&path)
    })
}

impl Text {
    fn concerns(&self, holding: &Holding) -> bool {
        match (&self.token, &holding.token) {
            (Some(asked), Some(token)) => asked == token,
            _ => self.session >= holding.session,
        }
    }
}

/// Reads a request; the owner of a run looks for them often, and mostly there is none.
fn read(path: &Path) -> Option<Text> {
    let bytes = regular::read(path).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Holding, clear, pending, request, withdraw};
    use crate::{
        model::{Actor, StopMode},
        record::testing::actor,
    };

    fn holding(session: u32, token: Option<&str>) -> Holding {
        Holding {
            session,
            token: token.map(str::to_owned),
        }
    }

    #[test]
    fn the_strongest_request_wins_and_those_of_earlier_sessions_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let ask =
            |mode, session| request(dir, mode, &holding(session, None), &actor(None)).unwrap();
        let mode = |session| pending(dir, &holding(session, Some("a"))).map(|asked| asked.mode);
        assert_eq!(mode(1), None);
        ask(StopMode::Drain, 2);
        ask(StopMode::Kill, 1);
        ask(StopMode::Stop, 2);
        ask(StopMode::Stop, 2);
        assert_eq!(mode(1), Some(StopMode::Kill));
        assert_eq!(mode(2), Some(StopMode::Stop));
        assert_eq!(mode(3), None);

        fs_err::write(dir.join("request-cancel.json"), "{").unwrap();
        assert_eq!(mode(2), Some(StopMode::Stop));
        // One without a name, as runners of before write it.
        let text = r#"{"session":2,"who":"pid 7","at":"2026-11-20T04:39:12.123Z"}"#;
        fs_err::write(dir.join("request-kill.json"), text).unwrap();
        let asked = pending(dir, &holding(2, Some("a"))).unwrap();
        assert_eq!((asked.mode, asked.actor), (StopMode::Kill, None));
        clear(dir, None).unwrap();
        assert_eq!(mode(1), None);
        clear(dir, None).unwrap();
    }

    #[test]
    fn a_request_concerns_the_holding_that_it_names_and_no_later_one() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let anna = actor(Some("disk needed"));
        request(dir, StopMode::Stop, &holding(2, Some("a")), &anna).unwrap();
        let asked = pending(dir, &holding(2, Some("a"))).unwrap();
        assert_eq!(asked.actor.as_ref(), Some(&anna));
        assert_eq!(pending(dir, &holding(2, Some("b"))), None);

        clear(dir, Some(&holding(2, Some("a")))).unwrap();
        let bert = Actor {
            pid: 8,
            ..anna.clone()
        };
        withdraw(dir, StopMode::Stop, &bert).unwrap();
        assert!(pending(dir, &holding(2, Some("a"))).is_some());
        withdraw(dir, StopMode::Stop, &anna).unwrap();
        assert_eq!(pending(dir, &holding(2, Some("a"))), None);
        request(dir, StopMode::Stop, &holding(2, Some("a")), &anna).unwrap();
        clear(dir, Some(&holding(2, Some("b")))).unwrap();
        assert_eq!(pending(dir, &holding(2, Some("a"))), None);
    }
}
