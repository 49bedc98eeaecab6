//! A server of this machine's devices, for trainings on several machines.
//!
//! ```sh
//! cargo run --release --features remote-server --example serve -- --help
//! ```

#[macro_use]
mod common;

use std::env::VarError;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
use burn_vae::{Error, ErrorKind, Result, backend};
use clap::Parser;
use common::exit_code;

/// Serves devices to trainings on other machines, until Ctrl-C. They use them as ws://ADDR:PORT#0.
///
/// The environment variable BURN_VAE_TOKEN holds a token that clients must have too. The connection is
/// not encrypted: across a network, use a tunnel.
#[derive(Parser)]
struct Args {
    /// Devices to serve, all of one backend, as in cuda:0,cuda:1
    #[arg(long, default_value = backend::names()[0])]
    devices: String,

    /// Address and port to listen on; port 0 is any free one
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    exit_code(serve())
}

fn serve() -> Result<()> {
    let Args { devices, listen } = Args::parse();
    let fail = |message: String| Error::new(ErrorKind::Backend, message);
    let mut server = RemoteServer::new(backend::devices(&devices)?);
    match std::env::var(backend::TOKEN) {
        Ok(token) => {
            let authorizer = TokenAuthorizer::new(token);
            let authorizer =
                authorizer.map_err(|error| fail(format!("{}: {error}", backend::TOKEN)));
            server = server.with_authorizer(authorizer?);
        }
        Err(VarError::NotUnicode(_)) => {
            return Err(fail(format!("{} is not valid Unicode", backend::TOKEN)));
        }
        Err(VarError::NotPresent) if listen.ip().is_loopback() => {}
        Err(VarError::NotPresent) => {
            return Err(fail(format!(
                "anyone who reaches {listen} could use this machine: set {} to a token",
                backend::TOKEN
            )));
        }
    }
    let refused = |error: std::io::Error| fail(format!("{listen}: {error}")).with_source(error);
    let listener = TcpListener::bind(listen).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    for (number, device) in devices.split(',').enumerate() {
        say!("{} at ws://{address}#{number}", device.trim());
    }
    if address.ip().is_unspecified() {
        say!("other machines use an address of this one instead of {}", address.ip());
    }
    let served = server.serve(WebSocketTransport::from_listener(listener));
    served.map_err(|error| fail(error.to_string()).with_source(error))
}
