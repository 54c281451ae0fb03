//! The socket of a connection, as the HTTP dispatcher sees it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{AHEAD, Conduct, HEAD_LIMIT, LEFTOVER_BYTES, LEFTOVER_TIME, refusal};
use crate::http::middleware::RequestIds;

/// A stream that comes to its end when the client's time is over, and that gives the dispatcher
/// nothing that it has no use for yet.
pub struct Guarded<S> {
    stream: S,
    conduct: Rc<Conduct>,
    ids: Rc<RequestIds>,
    /// Goes off at `armed`, which may be too early, never too late. One timer, seldom set, does
    /// for all the limits of a connection: a request in time moves them all on.
    timer: Pin<Box<Sleep>>,
    /// None as long as nobody waits for the timer.
    armed: Option<Instant>,
    /// The client does not take what it is sent.
    is_stuffed: bool,
    /// Bytes that the dispatcher has got in this turn.
    taken: usize,
    /// What came before there was a use for it: it is read so that the end of a connection is
    /// noticed while somebody works for it.
    ahead: Vec<u8>,
    /// Once nothing else is to be said: an answer may still be on its way.
    is_to_be_told: bool,
    farewell: Farewell,
}

/// What is said to a client without asking the application.
enum Farewell {
    Nothing,
    Saying(Bytes),
    /// It is said; what the client still sends would else drive it off before it has heard.
    Draining {
        until: Instant,
        bytes: usize,
    },
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Guards a new connection; `ids` number the answers that come from here.
    pub fn new(stream: S, ids: Rc<RequestIds>) -> Guarded<S> {
        Guarded {
            stream,
            conduct: Rc::new(Conduct::new()),
            ids,
            timer: Box::pin(sleep_until(Instant::now() + HEAD_LIMIT)),
            armed: None,
            is_stuffed: false,
            taken: 0,
            ahead: Vec::new(),
            is_to_be_told: false,
            farewell: Farewell::Nothing,
        }
    }

    /// For the data of the connection, where [`Visit`](super::Visit) looks for it.
    pub fn conduct(&self) -> Rc<Conduct> {
        Rc::clone(&self.conduct)
    }

    fn must_be_set(&self, limit: Instant) -> bool {
        self.timer.is_elapsed() || self.armed.is_none_or(|armed| armed > limit)
    }

    /// Whether `limit` has passed; otherwise the task is woken then.
    fn is_past(&mut self, limit: Instant, cx: &mut Context<'_>) -> bool {
        loop {
            if self.must_be_set(limit) {
                if Instant::now() >= limit {
                    return true;
                }
                self.timer.as_mut().reset(limit);
                self.armed = Some(limit);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
    }

    /// No bytes now; the end of the stream when the client's time is over.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.conduct.limit() {
            Some(limit) if self.is_past(limit, cx) => {
                if let Some((reason, is_told)) = self.conduct.fault() {
                    metrics::counter!("roost_http_cut_off_total", "reason" => reason).increment(1);
                    self.is_to_be_told = is_told;
                }
                Poll::Ready(Ok(()))
            }
            _ => Poll::Pending,
        }
    }

    /// Reads at most [`AHEAD`] bytes from the client and hands them to `take`.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&mut Self, &[u8]),
    ) -> Poll<io::Result<usize>> {
        // Copied from here: only so many bytes of the dispatcher's buffer could not be lent out
        // without clearing them first.
        let mut space = [MaybeUninit::uninit(); AHEAD];
        let mut space = ReadBuf::uninit(&mut space[..most.min(AHEAD)]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space))?;
        take(self, space.filled());
        Poll::Ready(Ok(space.filled().len()))
    }

    /// For the dispatcher, as far as it may have more in this turn.
    fn poll_pass_on(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = AHEAD.saturating_sub(self.taken).min(buf.remaining());
        if most == 0 {
            self.taken = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let number = if self.ahead.is_empty() {
            match self.poll_some(cx, most, |_, bytes| buf.put_slice(bytes)) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    self.taken = 0;
                    return self.wait(cx);
                }
            }
        } else {
            let number = most.min(self.ahead.len());
            buf.put_slice(&self.ahead[..number]);
            self.ahead.drain(..number);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            number
        };
        if number > 0 {
            self.taken += number;
            self.conduct.received(number);
        }
        Poll::Ready(Ok(()))
    }

    /// While somebody works for the client: an end or an error that comes now is passed on, a
    /// little more than that is kept.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < AHEAD {
            let most = AHEAD - self.ahead.len();
            let keep = |this: &mut Self, bytes: &[u8]| this.ahead.extend_from_slice(bytes);
            if ready!(self.poll_some(cx, most, keep))? == 0 {
                // Not before what came before it.
                return if self.ahead.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
        }
        Poll::Pending
    }

    /// After an answer nobody may ask for bytes again: the time starts here.
    fn watch(&mut self, cx: &mut Context<'_>) {
        let limit = self.conduct.limit();
        let Some(limit) = limit.filter(|limit| self.must_be_set(*limit)) else { return };
        if self.is_past(limit, cx) {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Farewell::Saying(words) = &mut self.farewell {
            let said = ready!(Pin::new(&mut self.stream).poll_write(cx, words))?;
            if said == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            words.advance(said);
            if words.is_empty() {
                let until = Instant::now() + LEFTOVER_TIME;
                self.farewell = Farewell::Draining { until, bytes: LEFTOVER_BYTES };
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 4096];
        while let Farewell::Draining { until, bytes } = self.farewell {
            let mut waste = ReadBuf::new(&mut waste);
            let read = match bytes {
                0 => Poll::Pending,
                _ => Pin::new(&mut self.stream).poll_read(cx, &mut waste),
            };
            match read {
                Poll::Ready(Ok(())) if !waste.filled().is_empty() => {
                    let bytes = bytes.saturating_sub(waste.filled().len());
                    self.farewell = Farewell::Draining { until, bytes };
                }
                Poll::Pending if !self.is_past(until, cx) => return Poll::Pending,
                _ => self.farewell = Farewell::Over,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.conduct.turn();
        if !this.is_stuffed && this.conduct.has_use_for_more() {
            return this.poll_pass_on(cx, buf);
        }
        this.taken = 0;
        this.conduct.hold_back();
        if !this.is_stuffed && this.conduct.is_working() {
            this.poll_ahead(cx)
        } else {
            this.wait(cx)
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.farewell, Farewell::Nothing)
            && this.conduct.awaits_a_head()
            && let Some(words) = refusal::instead_of(buf, &this.ids)
        {
            this.farewell = Farewell::Saying(words);
        }
        if !matches!(this.farewell, Farewell::Nothing) {
            ready!(this.poll_say(cx))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            ready!(this.poll_drain(cx));
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        match &written {
            Poll::Pending => this.is_stuffed = true,
            Poll::Ready(_) => {
                this.is_stuffed = false;
                this.conduct.sent();
            }
        }
        written
    }

    /// Called whenever all is written, and there may have been nothing to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.conduct.has_waited() {
            cx.waker().wake_by_ref();
        }
        this.watch(cx);
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.is_to_be_told) {
            this.farewell = Farewell::Saying(refusal::too_slow(&this.ids));
        }
        ready!(this.poll_say(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
