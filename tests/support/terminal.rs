//! A terminal of a certain width, and what a program shows on it.

use std::{
    fs::File,
    io::Read as _,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use anstream::adapter::strip_str;
use nix::pty::{Winsize, openpty};
use unicode_width::UnicodeWidthStr as _;

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
