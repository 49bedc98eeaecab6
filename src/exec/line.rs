use std::io::{ErrorKind as Io, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Pause between a server's answer and the next question.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection to a server which shows whether the server is still there.
///
/// Burn's sessions have no heartbeat, so this is a connection beside them. The servers speak HTTP, on
/// threads that compute nothing: they answer, with an error 404, also while a step takes long or kernels
/// compile.
pub(crate) struct Line {
    url: String,
    stream: TcpStream,
    /// When the server was asked last, or has answered.
    since: Instant,
    is_asked: bool,
}

impl Line {
    /// Connects to `ws://host:port` and waits for the first answer.
    ///
    /// # Errors
    /// If there is none within the timeout; host names have the timeout of the system.
    pub(crate) fn open(url: &str, timeout: Duration) -> Result<Self> {
        let fail = |reason: std::io::Error| {
            let message = format!("the server {url} cannot be reached: {reason}");
            Error::new(ErrorKind::Backend, message).with_source(reason)
        };
        let name = url.trim_start_matches("ws://");
        let mut stream = Err(std::io::Error::from(Io::AddrNotAvailable));
        for address in name.to_socket_addrs().map_err(fail)? {
            stream = TcpStream::connect_timeout(&address, timeout);
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream.map_err(fail)?;
        stream.set_nonblocking(true).map_err(fail)?;
        let mut line = Self { url: url.into(), stream, since: Instant::now(), is_asked: false };
        line.ask().map_err(fail)?;
        while line.is_asked {
            line.try_check(timeout).map_err(fail)?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(line)
    }

    /// Reads the answer to the last question and asks the next. Does not wait.
    ///
    /// # Errors
    /// If the connection is closed, or if the server owes an answer for longer than the timeout.
    pub(crate) fn check(&mut self, timeout: Duration) -> Result<()> {
        self.try_check(timeout).map_err(|reason| {
            let message = format!("the server {} is lost: {reason}", self.url);
            Error::new(ErrorKind::Training, message).with_source(reason)
        })
    }

    fn try_check(&mut self, timeout: Duration) -> std::io::Result<()> {
        match self.stream.read(&mut [0; 1024]) {
            Ok(0) => return Err(std::io::Error::other("it has closed the connection")),
            Ok(_) => (self.since, self.is_asked) = (Instant::now(), false),
            Err(error) if matches!(error.kind(), Io::WouldBlock | Io::Interrupted) => {}
            Err(error) => return Err(error),
        }
        match self.since.elapsed() {
            waited if self.is_asked && waited > timeout => {
                Err(std::io::Error::other(format!("it has not answered for {timeout:?}")))
            }
            waited if !self.is_asked && waited > PAUSE => self.ask(),
            _ => Ok(()),
        }
    }

    fn ask(&mut self) -> std::io::Result<()> {
        (self.since, self.is_asked) = (Instant::now(), true);
        self.stream.write_all(b"GET / HTTP/1.1\r\nHost: burn-vae\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);

    #[test]
    fn a_server_that_is_silent_or_gone_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let error = Line::open(&url, TIMEOUT).err().unwrap().to_string();
        assert!(error.contains(&url) && error.contains("not answered for 200ms"), "{error}");
        drop(listener);
        let error = Line::open(&url, TIMEOUT).err().unwrap().to_string();
        assert!(error.contains(&url) && error.contains("cannot be reached"), "{error}");
    }

    /// A server that has answered once is asked again, and found silent or gone.
    #[test]
    fn a_server_is_watched() {
        for closes in [true, false] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("ws://{}", listener.local_addr().unwrap());
            let server = std::thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").unwrap();
                stream
            });
            let mut line = Line::open(&url, Duration::from_secs(30)).unwrap();
            let mut stream = Some(server.join().unwrap());
            line.check(TIMEOUT).unwrap();
            if closes {
                stream.take();
            }
            let start = Instant::now();
            let error = loop {
                assert!(start.elapsed() < Duration::from_secs(30), "the loss was not seen");
                match line.check(TIMEOUT) {
                    Ok(()) => std::thread::sleep(Duration::from_millis(5)),
                    Err(error) => break error.to_string(),
                }
            };
            let expected = if closes { "is lost" } else { "not answered for 200ms" };
            assert!(error.contains(&url) && error.contains(expected), "{error}");
        }
    }
}
