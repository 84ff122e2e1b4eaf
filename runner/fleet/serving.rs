//! [`serve`]: the side of the worker: it hears which runs would have workers, and makes attempts of one at a time.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use tokio::{
    runtime,
    sync::{Mutex, mpsc, watch},
    time,
};
use uuid::Uuid;

use super::{
    EngineAddress, FleetError, WorkerPlace, WorkerTold,
    blobs::BlobBucket,
    bridge::{Bridge, CarryEnd, Patience, carry},
    connection::EngineConnection,
    holding::{EngineName, HeldName},
    messages::{
        JoinRequest, LANGUAGE, OFFERS, Offer, PRESENCE, WorkerPresence, link_subjects, read, write,
    },
    offered_run::{OfferedRun, Served},
    presence::EVERY,
};
use crate::{
    model::{Digest, cores},
    run::{Bundle, ENGINE, RemoteNews, RunNews, SuiteCopy, Workplace, seat_name},
};

/// A run that has said nothing for so long is gone: its attempts are ended, so that nobody pays for what nobody waits for.
const PATIENCE: Patience = Patience {
    silence: Duration::from_secs(15),
    outage: Duration::from_secs(60),
};
/// How many processes in a row may end at once, before there is no other.
const MOST_FRUITLESS: u32 = 3;
/// A process that has lasted for less has ended at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Makes attempts for the runs that would have workers, until it is asked to end.
///
/// Its processes die with the thread that calls this.
///
/// # Errors
///
/// Fails if the engine cannot be reached, or another worker at it has the same name.
pub fn serve(address: &EngineAddress, place: &WorkerPlace<'_>) -> Result<(), FleetError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(FleetError::io("start threads"))?;
    runtime.block_on(async {
        let engine = EngineConnection::open(address, &place.name).await?;
        // Rows, lists and whoever sets machines aside know a worker by its name.
        let name = EngineName::Worker(&place.name);
        let _held = HeldName::claim(&engine, name, &place.holder).await?;
        // It tells now what is missing, and not at the first run.
        drop(BlobBucket::open(&engine).await?);
        let serving = Serving {
            engine,
            place,
            run: RefCell::new(None),
        };
        tokio::select! {
            done = serving.go_on() => done,
            // These never end.
            () = serving.be_present() => Ok(()),
            () = serving.tell_that_it_leaves() => Ok(()),
        }
    })
}

struct Serving<'a> {
    engine: EngineConnection,
    place: &'a WorkerPlace<'a>,
    /// The run whose attempts it makes.
    run: RefCell<Option<String>>,
}

impl Serving<'_> {
    async fn go_on(&self) -> Result<(), FleetError> {
        let mut offers = self.engine.hear(OFFERS).await?;
        (self.place.tell)(WorkerTold::Waits {
            engine: &self.engine.at,
            name: &self.place.name,
        });
        let mut asked = self.place.asked_to_end.clone();
        let mut done_with = HashSet::new();
        let mut idle_since = Instant::now();
        self.say_present().await;
        while *asked.borrow_and_update() == 0 {
            let most_idle = self.place.most_idle.unwrap_or(Duration::MAX);
            let left = most_idle.saturating_sub(idle_since.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            let message = tokio::select! {
                message = offers.next() => message,
                _ = asked.changed() => continue,
                () = time::sleep(left.min(EVERY)) => continue,
            };
            let Some(message) = message else {
                return Ok(());
            };
            let Some(offer) = read::<Offer>(&message.payload) else {
                continue;
            };
            if !self.suits(&offer) || done_with.contains(&offer.session) {
                continue;
            }
            self.run.replace(Some(offer.run.clone()));
            let run = OfferedRun {
                engine: &self.engine,
                offer: &offer,
                root: &self.place.root,
            };
            let served = self.serve(run).await;
            self.run.replace(None);
            match served {
                // What it said before it was over is still heard.
                Ok(Served::Over) => drop(done_with.insert(offer.session)),
                // If it is still there, it says so again.
                Ok(Served::Gone) => {}
                Err(reason) => {
                    (self.place.tell)(WorkerTold::Declines {
                        run: &offer.run,
                        reason: &reason,
                    });
                    let worker = self.place.name.clone();
                    let declined = JoinRequest::Declined { worker, reason };
                    // It hears it, or it waits for others as it would.
                    drop(run.ask(&declined).await);
                    done_with.insert(offer.session);
                }
            }
            idle_since = Instant::now();
            self.say_present().await;
        }
        Ok(())
    }

    /// Tells whether an offer is one that this worker could take.
    fn suits(&self, offer: &Offer) -> bool {
        let mut labels = offer.labels.iter();
        labels.all(|(key, value)| self.place.labels.get(key) == Some(value))
    }

    async fn be_present(&self) {
        loop {
            time::sleep(EVERY).await;
            self.say_present().await;
        }
    }

    async fn tell_that_it_leaves(&self) {
        let mut asked = self.place.asked_to_end.clone();
        // Without anybody who could ask, it is never asked.
        if asked.wait_for(|count| *count > 0).await.is_ok() && self.run.borrow().is_some() {
            (self.place.tell)(WorkerTold::Leaves);
        }
        std::future::pending::<()>().await;
    }

    async fn say_present(&self) {
        let presence = WorkerPresence {
            v: LANGUAGE,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker: self.place.name.clone(),
            host: self.place.host_name.clone(),
            cores: cores(),
            labels: self.place.labels.clone(),
            run: self.run.borrow().clone(),
            is_leaving: *self.place.asked_to_end.borrow() > 0,
        };
        let said = self.engine.client.publish(PRESENCE, write(&presence));
        // It is said again.
        drop(said.await);
    }

    /// Makes attempts of a run until that needs no more; the error says why it makes none.
    async fn serve(&self, run: OfferedRun<'_>) -> Result<Served, String> {
        is_alike(run.offer)?;
        let Some((mut workplace, tests)) = self.prepare(run).await? else {
            return Ok(Served::Gone);
        };
        let tests = Mutex::new(tests);
        self.hand_over(&mut workplace)?;
        let (processes, each) = (workplace.processes(), workplace.capacity());
        let telling = ServedRun {
            tell: self.place.tell,
            offer: run.offer,
            processes,
            slots: processes * each.slots,
            is_begun: Cell::default(),
            is_aside: Cell::default(),
        };
        let seats = (0..processes).map(|place| {
            let name = seat_name(&self.place.name, place + 1);
            self.sit(run, &workplace, &tests, name.to_string(), &telling)
        });
        let done = join_all(seats).await;
        workplace.clear();
        if telling.is_begun.get() {
            (self.place.tell)(WorkerTold::Ends {
                run: &run.offer.run,
            });
        }
        let done: Vec<_> = done.into_iter().collect::<Result<_, _>>()?;
        Ok(match done.contains(&Served::Over) {
            true => Served::Over,
            false => Served::Gone,
        })
    }

    /// Fetches what the run needs; `None` if it is gone.
    async fn prepare(&self, run: OfferedRun<'_>) -> Result<Option<(Workplace, SuiteCopy)>, String> {
        let bundle = Digest::parse(&run.offer.bundle).ok_or("its bundle has no digest")?;
        if run.fetch(&[bundle]).await? == Served::Gone {
            return Ok(None);
        }
        let path = Bundle::content(&self.place.root).path(bundle);
        let bytes = fs_err::read(path).map_err(|error| error.to_string())?;
        let bundle = Bundle::decode(&bytes).ok_or("its bundle is none")?;
        let segments = bundle.segments();
        let defining = segments
            .defining
            .iter()
            .filter_map(|place| segments.pieces.get(*place));
        let defining = defining.map(|segment| segment.digest);
        let blobs: Vec<_> = bundle.blobs().iter().copied().chain(defining).collect();
        if run.fetch(&blobs).await? == Served::Gone {
            return Ok(None);
        }
        Workplace::open(bundle, &self.place.root, self.place.allowed).map(Some)
    }

    /// Gives the plan what it is granted and this machine has.
    fn hand_over(&self, workplace: &mut Workplace) -> Result<(), String> {
        let plan = workplace.plan();
        let refusals = self.place.ceiling.refusals(plan);
        if !refusals.is_empty() {
            return Err(format!(
                "{}, which is more than `--ceiling` allows here",
                refusals.join(", ")
            ));
        }
        let names = plan.provider_secrets();
        let values = (self.place.secrets)(&names)?;
        let lacking: Vec<_> = names
            .iter()
            .filter(|name| !values.contains_key(*name))
            .collect();
        if let Some(name) = lacking.first() {
            return Err(format!("secret `{name}` has no value here"));
        }
        plan.set_secrets(&values);
        let checked = plan.check_folders(Vec::new());
        checked.map_err(|error| crate::model::chain(&error))
    }

    /// Makes attempts in one process, and in another whenever it has ended, until the run needs no more.
    async fn sit(
        &self,
        run: OfferedRun<'_>,
        workplace: &Workplace,
        tests: &Mutex<SuiteCopy>,
        name: String,
        telling: &ServedRun<'_>,
    ) -> Result<Served, String> {
        let mut asked = self.place.asked_to_end.clone();
        let mut fruitless = 0;
        while *asked.borrow_and_update() == 0 {
            let link = Uuid::new_v4().simple().to_string();
            let [down, up] = link_subjects(&link);
            // Before it asks: the run speaks as soon as it has answered, and what nobody hears is sent again only later.
            let heard = self.engine.hear(down).await;
            let heard = heard.map_err(|error| error.to_string())?;
            let capacity = workplace.capacity();
            let request = JoinRequest::Seat {
                name: name.clone(),
                link: link.clone(),
                slots: capacity.slots,
                memory: capacity.memory,
            };
            if run.ask(&request).await? == Served::Gone {
                return Ok(Served::Gone);
            }
            let started = workplace.start(&link, &self.place.processes, &self.place.scratch_root);
            let (seat, socket) = started.map_err(|error| error.to_string())?;
            let kill = seat.kill_switch();
            telling.begins();
            let (notes, to_note) = mpsc::unbounded_channel();
            let (told, mut to_tell) = mpsc::unbounded_channel();
            let undone = watch::Sender::new(0);
            let mut noted = |note: &[u8]| {
                let news = RunNews::decode(note);
                if let Some(RunNews::Needs { .. }) = news {
                    undone.send_modify(|undone| *undone += 1);
                }
                // As long as there is a bridge, there is somebody to hear it.
                drop(told.send(news));
            };
            let bridge = Bridge {
                engine: self.engine.clone(),
                speaks: up,
                heard,
                patience: PATIENCE,
                noted: &mut noted,
                notes: to_note,
                undone: undone.subscribe(),
            };
            let mut seat = Some(seat);
            let (mut is_done, mut words, mut had_begun) = (false, String::new(), false);
            let began = Instant::now();
            let last = || {
                let news = seat.take()?.end();
                match &news {
                    None => is_done = true,
                    Some(RemoteNews::Ended { words: said, begun }) => {
                        words.clone_from(said);
                        had_begun = !begun.is_empty();
                    }
                    Some(RemoteNews::Leaving) => {}
                }
                Some(news?.encode())
            };
            let mut failed = None;
            let ended = {
                let carried = carry(bridge, socket, last);
                tokio::pin!(carried);
                let bring =
                    async |segments, is_needed| (run.bring(tests, segments).await, is_needed);
                let mut bringing = FuturesUnordered::new();
                loop {
                    tokio::select! {
                        biased;
                        Some(news) = to_tell.recv() => match news {
                            Some(RunNews::Needs { segments }) => {
                                let next = segments.iter().max().map(|last| last + 1);
                                bringing.push(bring(segments, true));
                                // Most runs go through their list in order. Behind the last one there is none.
                                bringing.extend(next.map(|next| bring(vec![next], false)));
                            }
                            news => telling.hears(news),
                        },
                        Some((brought, is_needed)) = bringing.next() => match brought {
                            _ if !is_needed => {}
                            Ok(()) => undone.send_modify(|undone| *undone -= 1),
                            Err(reason) => {
                                failed = Some(reason);
                                kill();
                            }
                        },
                        ended = &mut carried => break ended,
                        Ok(()) = asked.changed() => match *asked.borrow_and_update() {
                            0 => {}
                            1 => drop(notes.send(RemoteNews::Leaving.encode())),
                            _ => kill(),
                        },
                    }
                }
            };
            while let Ok(news) = to_tell.try_recv() {
                telling.hears(news);
            }
            if let Some(reason) = failed {
                return Err(reason);
            }
            match ended.map_err(|error| error.to_string())? {
                CarryEnd::Closed if !is_done => {}
                CarryEnd::Closed | CarryEnd::Over => return Ok(Served::Over),
                CarryEnd::Silent => return Ok(Served::Gone),
            }
            (self.place.tell)(WorkerTold::Lost { words: &words });
            // A trial that ends its process at once is found by the run.
            fruitless = match began.elapsed() < AT_ONCE && !had_begun {
                true => fruitless + 1,
                false => 0,
            };
            if fruitless >= MOST_FRUITLESS {
                return Err(format!("its processes end at once{words}"));
            }
        }
        Ok(Served::Over)
    }
}

/// What is told of one run, once for all processes that make its attempts.
struct ServedRun<'a> {
    tell: &'a dyn Fn(WorkerTold<'_>),
    offer: &'a Offer,
    processes: usize,
    slots: usize,
    is_begun: Cell<bool>,
    is_aside: Cell<bool>,
}

impl ServedRun<'_> {
    fn begins(&self) {
        if !self.is_begun.replace(true) {
            (self.tell)(WorkerTold::Begins {
                run: &self.offer.run,
                scenario: &self.offer.scenario,
                processes: self.processes,
                slots: self.slots,
            });
        }
    }

    /// Tells what the run has told; what nobody knows is left.
    fn hears(&self, news: Option<RunNews>) {
        if let Some(RunNews::SetAside { why }) = news
            && !self.is_aside.replace(true)
        {
            (self.tell)(WorkerTold::SetAside {
                run: &self.offer.run,
                why: &why,
            });
        }
    }
}

/// Fails unless a run speaks as this worker does, and its plugins run in the same.
fn is_alike(offer: &Offer) -> Result<(), String> {
    let engine = match offer.engine.as_str() {
        "" => "another engine",
        engine => engine,
    };
    let differs = |its: &dyn std::fmt::Display, own: &dyn std::fmt::Display| {
        Err(format!("the run is made by {its}, and this is {own}"))
    };
    let version = env!("CARGO_PKG_VERSION");
    if offer.version != version {
        let version_of = |version: &str| format!("version {version} of the runner");
        return differs(&version_of(&offer.version), &version_of(version));
    }
    if offer.v != LANGUAGE {
        let speaks =
            |v: u32| format!("a runner that speaks version {v} of the language of workers");
        return differs(&speaks(offer.v), &speaks(LANGUAGE));
    }
    if engine != ENGINE {
        return differs(
            &format!("a runner with {engine}"),
            &format!("one with {ENGINE}"),
        );
    }
    Ok(())
}
