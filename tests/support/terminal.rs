//! A terminal of a certain width, and what a program shows on it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anstream::adapter::strip_str;
use nix::{
    pty::{Winsize, openpty},
    sys::termios::{LocalFlags, tcgetattr},
};
use unicode_width::UnicodeWidthStr as _;

use super::wait::wait_until;

/// A program on a terminal.
pub(crate) struct OnTerminal {
    pub(crate) child: Child,
    screen: JoinHandle<String>,
    columns: u16,
}

/// What a program has shown, line by line; of a line that was drawn again and again, what it was in the end.
pub(crate) struct Screen {
    pub(crate) code: Option<i32>,
    /// With colours.
    pub(crate) coloured: String,
    /// Without.
    pub(crate) text: String,
    columns: u16,
}

/// Starts a program whose output and errors go to a terminal with 256 colours.
pub(crate) fn on_terminal(mut command: Command, columns: u16) -> OnTerminal {
    let size = Winsize {
        ws_row: 50,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(&size, None).unwrap();
    let screen = pty.slave.try_clone().unwrap();
    command
        .env_remove("NO_COLOR")
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null())
        .stdout(Stdio::from(screen))
        .stderr(Stdio::from(pty.slave));
    let child = command.spawn().unwrap();
    // It holds the terminal's other ends, which the reader waits for.
    drop(command);
    let mut master = File::from(pty.master);
    let screen = std::thread::spawn(move || {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        // The end of a terminal is an error.
        while let Ok(count @ 1..) = master.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    });
    OnTerminal {
        child,
        screen,
        columns,
    }
}

impl OnTerminal {
    pub(crate) fn finish(mut self) -> Screen {
        let code = self.child.wait().unwrap().code();
        let coloured = self.screen.join().unwrap().replace("\r\n", "\n");
        let lines = coloured.split('\n').map(|line| {
            let drawn = strip_str(line).to_string();
            drawn.rsplit('\r').next().unwrap().to_owned()
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        Screen {
            code,
            coloured,
            text,
            columns: self.columns,
        }
    }
}

impl Screen {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }

    /// Fails if a line would go on in the next one.
    #[track_caller]
    pub(crate) fn fits(&self) -> &Self {
        for line in self.text.lines() {
            let columns = usize::from(self.columns);
            assert!(
                line.width() <= columns,
                "wider than {columns}: {line}\n{}",
                self.text
            );
        }
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) -> &Self {
        let words: Vec<_> = self.text.split_whitespace().collect();
        let unwrapped = words.join(" ");
        for text in texts {
            assert!(
                unwrapped.contains(text),
                "`{text}` is not in\n{}",
                self.text
            );
        }
        self
    }
}

/// Longer than anything takes that a test waits for on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A program in the foreground of a terminal of its own, at which a test types.
pub(crate) struct AtTerminal {
    pub(crate) child: Child,
    keys: File,
    terminal: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    /// How much of it was waited for.
    read: usize,
}

/// Starts a program that makes its standard input its terminal, as `setsid --ctty` does.
pub(crate) fn at_terminal(mut command: Command, columns: u16) -> AtTerminal {
    let size = Winsize {
        ws_row: 50,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(&size, None).unwrap();
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    command
        .env("TERM", "xterm-256color")
        .stdin(end())
        .stdout(end())
        .stderr(end());
    let child = command.spawn().unwrap();
    let mut screen = File::from(pty.master);
    let keys = screen.try_clone().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut piece) {
            shown.lock().unwrap().extend_from_slice(&piece[..count]);
        }
    });
    AtTerminal {
        child,
        keys,
        terminal: pty.slave,
        seen,
        read: 0,
    }
}

impl AtTerminal {
    pub(crate) fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether what is typed is shown, and comes line by line.
    pub(crate) fn is_for_lines(&self) -> bool {
        let flags = tcgetattr(&self.terminal).unwrap().local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Waits until each key comes at once.
    #[track_caller]
    pub(crate) fn wait_for_keys(&self) {
        wait_until("keys are heard", || !self.is_for_lines());
    }

    /// All that was shown, without colours.
    pub(crate) fn text(&self) -> String {
        let seen = self.seen.lock().unwrap();
        strip_str(&String::from_utf8_lossy(&seen)).to_string()
    }

    /// Waits until a text is shown, behind the one that was waited for before.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            let shown = self.text();
            if let Some(at) = shown[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            assert!(
                began.elapsed() < LONG,
                "no `{text}` in\n{}",
                &shown[self.read..]
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_until("it ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for AtTerminal {
    fn drop(&mut self) {
        // What it has started hears of the end of the terminal, and is killed here where it was stopped.
        drop(self.keys.write_all(b"\x03"));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
