//! What commands write to standard output. Its reader may be gone (`tongbao audit | head -1`) and its disk may be full:
//! both are errors of the command, never a panic.

use std::fmt;
use std::io::{self, Write};

/// Standard output took no more.
#[derive(Debug)]
pub struct Lost(io::Error);

impl Lost {
    /// Whether its reader has gone, who then wants to hear no more either.
    pub fn reader_is_gone(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard output: {}", self.0)
    }
}

impl std::error::Error for Lost {}

/// Writes a line, and returns once it has left this process.
pub fn line(text: fmt::Arguments<'_>) -> Result<(), Lost> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}").and_then(|()| output.flush()).map_err(Lost)
}

/// `println!` that reports what could not be written.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::output::line(format_args!($($text)*))
    };
}
pub(super) use say;
