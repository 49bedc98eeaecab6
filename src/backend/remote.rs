//! Devices of servers, by URL.

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use burn::remote::{ConnectError, RemoteHost};
use burn::tensor::Device;

use super::TOKEN;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::{Line, lock};

/// How long a server may take to open a session.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The devices opened here and the URLs of their servers.
static OPENED: Mutex<Vec<(Device, String)>> = Mutex::new(Vec::new());

/// Returns the URL of a device's server; `None` for devices of this machine.
pub(super) fn server_of(device: &Device) -> Option<String> {
    let device = device.clone().inner();
    lock(&OPENED).iter().find(|(opened, _)| *opened == device).map(|(_, url)| url.clone())
}

/// Opens `ws://host:port#number`, by default number 0.
pub(super) fn device(name: &str) -> Result<Device> {
    let (url, number) = name.split_once('#').unwrap_or((name, "0"));
    let number = number.parse::<u32>().map_err(|_| unreadable(name))?;
    let mut host = RemoteHost::websocket(&format!("ws://{}", authority(url)?));
    match std::env::var(TOKEN) {
        Ok(token) => host = host.with_credential(token),
        Err(std::env::VarError::NotPresent) => {}
        // The value is a secret, so the error does not quote it.
        Err(std::env::VarError::NotUnicode(_)) => {
            return Err(Error::value(format!("{TOKEN} is not valid Unicode")));
        }
    }
    // Burn would dial for 16 s, and wait for an answer without end.
    Line::open(url, TIMEOUT)?;
    let (sender, opened) = mpsc::channel();
    std::thread::spawn(move || {
        let device = Device::remote_options(&host).device_index(number).init();
        // Burn keeps a lost session, and returns it as if it were open.
        sender.send(device.map(|device| (device.sync().is_ok(), device))).ok();
    });
    let device = match opened.recv_timeout(TIMEOUT) {
        Ok(Ok((true, device))) => device,
        Ok(Ok((false, _))) => {
            return Err(Error::new(
                ErrorKind::Backend,
                format!("this process has lost the server {url} and cannot open it again"),
            ));
        }
        Ok(Err(error)) => return Err(refused(url, error)),
        Err(_) => {
            let message = format!("the server {url} opened no session within {TIMEOUT:?}");
            return Err(Error::new(ErrorKind::Backend, message));
        }
    };
    if server_of(&device).is_none() {
        lock(&OPENED).push((device.clone().inner(), url.into()));
    }
    Ok(device)
}

/// Returns the `host:port` of a URL.
fn authority(url: &str) -> Result<&str> {
    let authority = url.strip_prefix("ws://").ok_or_else(|| unreadable(url))?;
    let (host, port) = authority.rsplit_once(':').ok_or_else(|| unreadable(url))?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    if host.is_empty() || !host.chars().all(is_host) || port.parse::<u16>().is_err() {
        return Err(unreadable(url));
    }
    Ok(authority)
}

/// What stands before an `@` may be a secret, so the error does not quote it.
fn unreadable(name: &str) -> Error {
    let name = name.rsplit('@').next().unwrap_or(name);
    Error::new(
        ErrorKind::Backend,
        format!("`{name}` is not a server's device; expected a name like ws://192.168.0.7:3000#0"),
    )
}

fn refused(url: &str, error: ConnectError) -> Error {
    let reason = match &error {
        ConnectError::Unauthorized => {
            format!("rejects the token in {TOKEN}, or {TOKEN} is not set")
        }
        ConnectError::NoSuchDevice { device_count } => {
            format!("has {device_count} devices, counted from 0")
        }
        error => format!("opened no session: {error}"),
    };
    Error::new(ErrorKind::Backend, format!("the server {url} {reason}")).with_source(error)
}
