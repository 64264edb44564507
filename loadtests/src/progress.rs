//! The bar on a terminal; silent elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const REDRAW: Duration = Duration::from_millis(250);

/// Draws until dropped: `state` is asked for the words beside the bar.
pub struct Progress {
    drawing: tokio::task::JoinHandle<()>,
    bar: ProgressBar,
}

impl Progress {
    pub fn start(name: &'static str, length: Duration, state: impl Fn() -> String + Send + 'static) -> Self {
        let bar = ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
        if let Ok(style) = ProgressStyle::with_template("{prefix:>10} [{bar:32}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name);
        let drawn = bar.clone();
        let drawing = tokio::spawn(async move {
            let begin = Instant::now();
            while !drawn.is_hidden() {
                drawn.set_position(u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX));
                drawn.set_message(state());
                tokio::time::sleep(REDRAW).await;
            }
        });
        Self { drawing, bar }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.drawing.abort();
        self.bar.finish_and_clear();
    }
}
