//! Trainings on devices of other processes. The servers are this program again, on loopback.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::SgdConfig;
use burn::server::{RemoteServer, TokenAuthorizer, WebSocketTransport};
use burn::tensor::{Device, Tensor};
use burn_vae::data::{ByteImages, Examples};
use burn_vae::train::{Existing, Progress, Stopped, TrainConfig, Trained, Trainer};
use burn_vae::{ErrorKind, MlpVae, MlpVaeConfig, ModuleConfig, Result, Seed, backend};

/// A server in a process of its own, which ends with this value or with this process.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(token: Option<&str>) -> Self {
        Self::start_at(0, token)
    }

    fn start_at(port: u16, token: Option<&str>) -> Self {
        let mut command = again("server");
        command.env("BURN_VAE_TEST_PORT", port.to_string());
        command.env("BURN_VAE_TEST_TOKEN", token.unwrap_or_default());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, port)) = line.split_once("port ") {
                break port.parse().unwrap();
            }
        };
        // What Burn writes must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port }
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    fn device(&self) -> Device {
        backend::device(&format!("{}#0", self.url())).unwrap()
    }

    fn signal(id: u32, signal: &str) {
        let status = Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// This program with one of the two functions below.
fn again(function: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", function, "--ignored", "--nocapture"]).env_remove(backend::TOKEN);
    command.stderr(Stdio::null());
    command
}

#[test]
#[ignore = "serves the tests"]
fn server() {
    let token = std::env::var("BURN_VAE_TEST_TOKEN").expect("the other tests call this");
    let port = std::env::var("BURN_VAE_TEST_PORT").unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    println!("port {}", listener.local_addr().unwrap().port());
    // The input ends with the process of the test.
    std::thread::spawn(|| {
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    let mut server = RemoteServer::new([Device::flex()]);
    if !token.is_empty() {
        server = server.with_authorizer(TokenAuthorizer::new(token).unwrap());
    }
    server.serve(WebSocketTransport::from_listener(listener)).unwrap();
}

#[test]
#[ignore = "a client with a token, for the test of tokens"]
fn client() {
    let device = std::env::var("BURN_VAE_TEST_DEVICE").expect("the test of tokens calls this");
    match backend::device(&device) {
        Ok(device) => {
            println!("sum {}", Tensor::<1>::ones([3], &device).sum().into_scalar::<f32>());
        }
        Err(error) => println!("{error}"),
    }
}

/// 57 images, so that the last batch of 8 has one row.
fn images() -> Arc<ByteImages> {
    let pixels = (0..57 * 64_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    Arc::new(ByteImages::new(pixels.collect::<Vec<_>>(), [8, 8, 1]).unwrap())
}

fn mlp(device: &Device) -> MlpVae {
    MlpVaeConfig::mlp(64, [12], 3).init(Seed::new(0), device).unwrap()
}

/// Steps of plain gradient descent show every factor of a gradient.
fn trainer(epochs: usize, devices: &[Device]) -> Trainer {
    let plan = TrainConfig { epochs, batch_size: 8, ..TrainConfig::default() };
    Trainer::new(plan)
        .with_optimizer(SgdConfig::new().init())
        .with_learning_rate(1e-2)
        .with_progress(Progress::Silent)
        .with_gradient_clipping(5.0)
        .unwrap()
        .with_devices(devices)
}

fn fit(epochs: usize, devices: &[Device]) -> Trained<MlpVae> {
    trainer(epochs, devices).fit(mlp(&devices[0]), images(), images()).unwrap()
}

fn weights(model: &impl Module) -> Vec<f64> {
    struct Visitor(Vec<f64>);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f64>());
        }
    }
    let mut visitor = Visitor(Vec::new());
    model.visit(&mut visitor);
    visitor.0
}

/// The norm of the difference over the norm of the change of training.
fn apart(a: &Trained<MlpVae>, b: &Trained<MlpVae>) -> f64 {
    let [a, b, start] = [weights(&a.model), weights(&b.model), weights(&mlp(&Device::flex()))];
    let norm =
        |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    norm(&a, &b) / norm(&a, &start)
}

#[test]
fn servers_compute_what_one_device_computes() {
    let servers = [Server::start(None), Server::start(None)];
    let [first, second] = servers.each_ref().map(Server::device);
    let here = fit(3, &[Device::flex()]);
    for devices in [
        vec![first.clone()],
        vec![first.clone(), second.clone()],
        vec![second.clone(), first.clone(), first.clone()],
        vec![Device::flex(), first.clone()],
    ] {
        let there = fit(3, &devices);
        let apart = apart(&here, &there);
        println!("{} devices: {apart:.1e}", devices.len());
        assert!(apart < 1e-6, "{apart} on {devices:?}");
        for (a, b) in here.history.epochs.iter().zip(&there.history.epochs) {
            assert!((a.train_nelbo - b.train_nelbo).abs() < 1e-4);
            assert!((a.valid_nelbo - b.valid_nelbo).abs() < 1e-4);
        }
    }
    // Clipping acts, and the measure sees it.
    let free = trainer(3, std::slice::from_ref(&first)).with_gradient_clipping(1e9).unwrap();
    let free = free.fit(mlp(&first), images(), images()).unwrap();
    assert!(apart(&here, &free) > 1e-2);
}

/// Trains for six epochs, and after the second does something to a server.
fn disturbed(
    dir: &Path,
    devices: &[Device],
    disturb: impl Fn() + Send + 'static,
) -> Box<Stopped<MlpVae>> {
    let start = Instant::now();
    let stopped = trainer(6, devices)
        .with_checkpoints(dir, Existing::Resume)
        .with_history_csv(dir.join("history.csv"))
        .with_server_timeout(Duration::from_secs(2))
        .fit_observed(mlp(&devices[0]), images(), images(), move |epoch, _| {
            if epoch.epoch == 2 {
                disturb();
            }
            Ok(())
        })
        .unwrap_err();
    // The limit, some seconds for the training to end, and much for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert_eq!(stopped.error.kind(), ErrorKind::Training);
    assert!(stopped.trained.is_none());
    stopped
}

/// Checks that a run resumes on other servers and ends as if nothing had happened.
fn check_resumed(dir: &Path) {
    let servers = [Server::start(None), Server::start(None)];
    let devices = servers.each_ref().map(Server::device);
    let run = trainer(6, &devices).with_checkpoints(dir, Existing::Resume);
    let resumed = run.fit(mlp(&devices[0]), images(), images()).unwrap();
    let whole = fit(6, &devices);
    assert_eq!(resumed.history.epochs.len(), 6);
    assert_eq!(weights(&resumed.model), weights(&whole.model));
}

#[test]
fn a_run_outlives_a_killed_server() {
    for killed in [0, 1] {
        let servers = [Server::start(None), Server::start(None)];
        let devices = servers.each_ref().map(Server::device);
        let (url, id) = (servers[killed].url(), servers[killed].process.id());
        let dir = tempfile::tempdir().unwrap();
        let stopped = disturbed(dir.path(), &devices, move || Server::signal(id, "-KILL"));
        let error = stopped.error.to_string();
        assert!(error.contains(&format!("the server {url} is lost")), "{error}");
        let epoch = error.split_once("the checkpoint of epoch ").expect(&error).1;
        let epoch = epoch.split_once(' ').unwrap().0.parse::<usize>().unwrap();
        // The observer sees an epoch once its checkpoint is complete.
        assert!(epoch >= 2, "{error}");
        check_resumed(dir.path());
    }
}

#[cfg(unix)]
#[test]
fn a_run_outlives_a_frozen_server() {
    for frozen in [0, 1] {
        let servers = [Server::start(None), Server::start(None)];
        let devices = servers.each_ref().map(Server::device);
        let (url, id) = (servers[frozen].url(), servers[frozen].process.id());
        let dir = tempfile::tempdir().unwrap();
        let stopped = disturbed(dir.path(), &devices, move || Server::signal(id, "-STOP"));
        let error = stopped.error.to_string();
        let expected = format!("the server {url} is lost: it has not answered for 2s");
        assert!(error.contains(&expected), "{error}");
        let files = || {
            let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
            let mut files =
                files.map(|path| (std::fs::read(&path).unwrap(), path)).collect::<Vec<_>>();
            files.sort();
            files
        };
        let before = files();
        // The training that was left behind goes on but no longer writes.
        Server::signal(id, "-CONT");
        std::thread::sleep(Duration::from_secs(2));
        assert!(files() == before, "a training that has ended wrote to its folder");
        check_resumed(dir.path());
    }
}

/// Examples that do something the first time they are read.
struct Eventful<F>(Arc<ByteImages>, Mutex<Option<F>>);

impl<F: FnOnce() + Send> Examples for Eventful<F> {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn dim(&self) -> usize {
        self.0.dim()
    }
    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.1.lock().unwrap().take().into_iter().for_each(|event| event());
        self.0.read(indices, out)
    }
}

/// A server that freezes while a run is being prepared. When it goes on, the run that has ended does not
/// claim its folder.
#[cfg(unix)]
#[test]
fn a_run_that_is_not_prepared_claims_nothing() {
    let server = Server::start(None);
    let (device, id) = (server.device(), server.process.id());
    let dir = tempfile::tempdir().unwrap();
    // Examples are read for the run's fingerprint, after which the optimiser is tried on the device.
    let freeze = move || Server::signal(id, "-STOP");
    let examples = Arc::new(Eventful(images(), Mutex::new(Some(freeze))));
    let stopped = trainer(1, std::slice::from_ref(&device))
        .with_checkpoints(dir.path().join("run"), Existing::Resume)
        .with_server_timeout(Duration::from_secs(2))
        .fit(mlp(&device), examples, images())
        .unwrap_err();
    let error = stopped.error.to_string();
    assert!(error.contains("it has not answered for 2s"), "{error}");
    Server::signal(id, "-CONT");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn servers_that_cannot_be_used_are_named() {
    let server = Server::start(Some("a token"));
    let (url, device) = (server.url(), format!("{}#0", server.url()));
    let open = |token: &str, device: &str| {
        let mut client = again("client");
        client.env(backend::TOKEN, token).env("BURN_VAE_TEST_DEVICE", device);
        let out = String::from_utf8(client.output().unwrap().stdout).unwrap();
        assert!(token.is_empty() || !out.contains(token), "{out}");
        out
    };
    assert!(open("a token", &device).contains("sum 3"));
    assert!(open("a token", &format!("{url}#1")).contains(&format!("{url} has 1 devices")));
    for token in ["another", ""] {
        let out = open(token, &device);
        assert!(out.contains(&format!("{url} rejects the token in BURN_VAE_TOKEN")), "{out}");
    }
    drop(server);
    for (device, expected) in [
        (&*device, &*format!("the server {url} cannot be reached: ")),
        ("ws://127.0.0.1#0", "`ws://127.0.0.1` is not a server's device"),
        ("ws://127.0.0.1:80000#0", "is not a server's device"),
        ("ws://me:secret@127.0.0.1:3000#0", "is not a server's device"),
        ("ws://127.0.0.1:3000#first", "`ws://127.0.0.1:3000#first` is not a server's device"),
        ("wss://127.0.0.1:3000#0", "is not a server's device"),
        ("flex,ws://:3000#0", "`ws://:3000` is not a server's device"),
    ] {
        let error = backend::devices(device).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

/// A server that is lost before the training is named at its start, and a new one in its place is not
/// taken for it.
#[test]
fn a_training_does_not_start_without_its_servers() {
    let server = Server::start(None);
    let (url, device) = (server.url(), server.device());
    let (model, port) = (mlp(&device), server.port);
    drop(server);
    let stopped = trainer(1, &[device]).fit(model, images(), images()).unwrap_err();
    assert!(stopped.error.to_string().contains(&url), "{}", stopped.error);
    let _again = Server::start_at(port, None);
    let error = backend::device(&url).unwrap_err().to_string();
    assert!(error.contains(&format!("has lost the server {url}")), "{error}");
}
