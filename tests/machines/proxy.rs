//! A proxy between an engine and whoever speaks with it, which makes the way between them slow and bad.
//!
//! It stands for `netem`, which delays and loses packets in a network and which not every kernel has. What TCP makes of a packet
//! that is lost is a wait in which nothing arrives, and after it all in its order: so some pieces wait longer here. Where too
//! many are lost, the connection breaks: so here it does now and then, in the middle of a message.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::random::Random;

/// How long every piece is under way, in each direction.
const DELAY: Duration = Duration::from_millis(200);
/// Of a hundred pieces, how many are under way for longer, and for how much longer in milliseconds.
const STALLED: u64 = 5;
const STALL: Range<u64> = 200..1_000;
/// How many pieces with messages come through from one break to the next, and how many breaks there are at most: each costs
/// seconds.
const BREAK_AFTER: Range<u64> = 15..60;
const MOST_BREAKS: usize = 3;
/// How much is read at a time, in bytes.
const PIECE: usize = 16 << 10;

/// A way to an engine, for as long as this value is there.
pub(crate) struct Proxy {
    port: u16,
    way: Arc<Way>,
}

/// What happens on it.
struct Way {
    engine: u16,
    luck: Mutex<Luck>,
    is_breaking: AtomicBool,
    is_over: AtomicBool,
}

struct Luck {
    random: Random,
    /// How many pieces with messages are left until the next break.
    until_break: u64,
    seen: ProxySeen,
}

/// What has happened on a way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProxySeen {
    /// How many connections there were, and how many of them have broken.
    pub(crate) connections: usize,
    pub(crate) breaks: usize,
    /// How many pieces were under way for longer.
    pub(crate) stalls: usize,
}

/// When a piece arrives, and what it is.
type Piece = (Instant, Vec<u8>);

impl Proxy {
    /// A way to the engine at this port. How bad it is follows from the seed.
    pub(crate) fn to(engine: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut random = Random(seed);
        let until_break = within(&mut random, BREAK_AFTER);
        let way = Arc::new(Way {
            engine,
            luck: Mutex::new(Luck {
                random,
                until_break,
                seen: ProxySeen::default(),
            }),
            is_breaking: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_over.load(SeqCst) {
                    return;
                }
                // Whoever finds nobody tries again.
                let _ = client.and_then(|client| accepting.connect(client));
            }
        });
        Self { port, way }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// From now on connections break now and then.
    pub(crate) fn begin_to_break(&self) {
        self.way.is_breaking.store(true, SeqCst);
    }

    /// What has happened so far.
    pub(crate) fn seen(&self) -> ProxySeen {
        self.way.luck.lock().unwrap().seen
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.is_over.store(true, SeqCst);
        // It hears of that once somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Way {
    fn connect(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let engine = TcpStream::connect(("127.0.0.1", self.engine))?;
        self.luck.lock().unwrap().seen.connections += 1;
        for (from, to) in [(client.try_clone()?, engine.try_clone()?), (engine, client)] {
            to.set_nodelay(true)?;
            let (pieces, under_way) = mpsc::channel();
            let (reading, writing) = (Arc::clone(self), Arc::clone(self));
            let source = from.try_clone()?;
            thread::spawn(move || reading.take_in(source, &pieces));
            thread::spawn(move || writing.let_out(&from, to, &under_way));
        }
        Ok(())
    }

    /// Reads what one side says, and decides how long it is under way.
    fn take_in(&self, mut from: TcpStream, pieces: &Sender<Piece>) {
        let mut buffer = vec![0; PIECE];
        let mut last = Instant::now();
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let arrives = Instant::now() + DELAY + self.stall();
            // Nothing overtakes anything.
            last = last.max(arrives);
            if pieces.send((last, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    }

    /// Hands over what was said when its time has come.
    fn let_out(&self, from: &TcpStream, mut to: TcpStream, under_way: &Receiver<Piece>) {
        for (arrives, piece) in under_way {
            thread::sleep(arrives.saturating_duration_since(Instant::now()));
            let breaks = self.breaks_in(&piece);
            let whole = if breaks { half(&piece) } else { &piece };
            if to.write_all(whole).is_err() || breaks {
                break;
            }
        }
        // One side has closed it, or it is broken: nothing more comes in either direction.
        for side in [from, &to] {
            let _ = side.shutdown(Shutdown::Both);
        }
    }

    fn stall(&self) -> Duration {
        let mut luck = self.luck.lock().unwrap();
        if luck.random.below(100) >= STALLED {
            return Duration::ZERO;
        }
        luck.seen.stalls += 1;
        Duration::from_millis(within(&mut luck.random, STALL))
    }

    fn breaks_in(&self, piece: &[u8]) -> bool {
        let is_message = [b"PUB ", b"MSG "]
            .iter()
            .any(|word| piece.windows(word.len()).any(|part| part == *word));
        if !is_message || !self.is_breaking.load(SeqCst) {
            return false;
        }
        let mut luck = self.luck.lock().unwrap();
        luck.until_break = luck.until_break.saturating_sub(1);
        if luck.until_break > 0 || luck.seen.breaks == MOST_BREAKS {
            return false;
        }
        luck.until_break = within(&mut luck.random, BREAK_AFTER);
        luck.seen.breaks += 1;
        true
    }
}

/// About half of a piece, which ends in the middle of a message: what is whole ends with the end of a line.
fn half(piece: &[u8]) -> &[u8] {
    let mut half = &piece[..piece.len() / 2];
    while let Some((b'\n', before)) = half.split_last() {
        half = before;
    }
    half
}

fn within(random: &mut Random, range: Range<u64>) -> u64 {
    range.start + random.below(range.end - range.start)
}
