//! A stream that fails once its connection's deadline has passed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Connection, Cut, Room};

pub struct Guarded {
    stream: TcpStream,
    room: Arc<Room>,
    pub connection: Arc<Connection>,
    /// Rings at the deadline or before it; deadlines that move away do not touch it.
    alarm: Pin<Box<Sleep>>,
}

impl Guarded {
    pub fn new(stream: TcpStream, room: Arc<Room>) -> Self {
        let connection = room.enter(stream.peer_addr().ok());
        // The kernel's part: what it has taken from us and the client does not take.
        if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(room.spans.answer)) {
            tracing::debug!(%error, "a connection has no TCP_USER_TIMEOUT");
        }
        let alarm = Box::pin(sleep_until(Instant::now() + room.spans.head));
        Guarded { stream, room, connection, alarm }
    }

    /// Fails once the time is up, and sees to it that the task is woken then. The dispatcher ends each of its turns with
    /// a flush, so that what changed during the turn is seen here before it waits.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.connection.task.register(context.waker());
        if self.connection.gives_way.load(Ordering::Acquire) {
            return Err(cut(Cut::Room));
        }
        let Some((deadline, why)) = self.connection.deadline(&self.room.spans) else { return Ok(()) };
        if deadline < self.alarm.deadline() {
            self.alarm.as_mut().reset(deadline);
        }
        while self.alarm.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Err(cut(why));
            }
            self.alarm.as_mut().reset(deadline);
        }
        Ok(())
    }
}

fn cut(why: Cut) -> io::Error {
    metrics::counter!("tongbao_connections_cut_total", "why" => why.name()).increment(1);
    io::Error::new(io::ErrorKind::TimedOut, why.name())
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.received();
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_pending() {
            self.connection.is_blocked();
            self.check(context)?;
        }
        written
    }

    /// The dispatcher comes here only when all that it had was taken.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.is_flushed();
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.room.leave(&self.connection);
    }
}
