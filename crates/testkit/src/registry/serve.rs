//! The registry's two listeners: itself on 127.0.0.1, and a foreign host on 127.0.0.2.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::exchange::{Exchange, Shared};
use super::log::Host;

/// A thread that serves until this is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// A listener on this port, or a free one, of 127.0.0.`last`.
pub(super) fn listen(last: u8, port: u16) -> (TcpListener, SocketAddr) {
    let listener =
        TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), port)).expect("the port is free");
    listener
        .set_nonblocking(true)
        .expect("a socket takes options");
    let address = listener.local_addr();
    (listener, address.expect("a bound socket has an address"))
}

impl Serving {
    pub(super) fn start(shared: Arc<Shared>, registry: TcpListener, foreign: TcpListener) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || serve(&shared, registry, foreign, stopped));
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    shared: &Arc<Shared>,
    registry: TcpListener,
    foreign: TcpListener,
    stopped: oneshot::Receiver<Infallible>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime on this thread").block_on(async {
        let from_std = |it| tokio::net::TcpListener::from_std(it).expect("it does not block");
        let (registry, foreign) = (from_std(registry), from_std(foreign));
        tokio::pin!(stopped);
        loop {
            let (accepted, host) = tokio::select! {
                _ = &mut stopped => return,
                accepted = registry.accept() => (accepted, Host::Registry),
                accepted = foreign.accept() => (accepted, Host::Foreign),
            };
            if let Ok((stream, _)) = accepted {
                tokio::spawn(connection(Arc::clone(shared), host, stream));
            }
        }
    });
}

async fn connection(shared: Arc<Shared>, host: Host, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let exchange = Exchange::new(&shared, host, request);
        async { exchange.respond().await.map_err(io::Error::from) }
    });
    // Fails where a client goes away or a fault cuts it off.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
