//! An HTTP server on the loopback interface (RFC 9110), with faults that are switched on and off by
//! path and an account of what was asked for.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::answer::{Answer, Ranges};
use crate::body::{Body, End};
use crate::fault::{Fault, Faults, matches};

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// 0 for a request that was left hanging.
    pub status: u16,
    /// Bytes of the body that were sent.
    pub bytes: u64,
    /// The request's `Range`.
    pub range: Option<String>,
    /// The request's `User-Agent`.
    pub user_agent: Option<String>,
}

/// A server on a free port of the loopback interface, stopped when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

type Handler = dyn Fn(&str, &HeaderMap) -> Answer + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    faults: Mutex<Faults>,
    served: Mutex<Vec<Served>>,
    credentials: Mutex<Option<String>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Server {
    /// Serves what `handler` answers for a path and the request's headers.
    pub(crate) fn start(
        handler: impl Fn(&str, &HeaderMap) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket takes options");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            faults: Mutex::default(),
            served: Mutex::default(),
            credentials: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(listener, &served, stopped));
        Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:<port>` and `path`, which begins with `/`.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on, requests for paths that match `pattern` (`*` stands for anything) meet `fault`.
    /// Of several that match, the one given last counts.
    pub fn fault(&self, pattern: &str, fault: Fault) {
        lock(&self.shared.faults).add(pattern, fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// From now on, requests need this user and password (RFC 7617).
    pub fn require_credentials(&self, user: &str, password: &str) {
        let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        *lock(&self.shared.credentials) = Some(expected);
    }

    /// All requests so far, in order.
    pub fn served(&self) -> Vec<Served> {
        lock(&self.shared.served).clone()
    }

    /// Number of requests so far for paths that match `pattern`.
    pub fn requests(&self, pattern: &str) -> usize {
        lock(&self.shared.served)
            .iter()
            .filter(|it| matches(pattern, &it.path))
            .count()
    }

    /// Bytes of bodies sent so far for paths that match `pattern`.
    pub fn bytes(&self, pattern: &str) -> u64 {
        let served = lock(&self.shared.served);
        served
            .iter()
            .filter(|it| matches(pattern, &it.path))
            .map(|it| it.bytes)
            .sum()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        lock(&self.shared.served).clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A test that panicked elsewhere must not hide behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    listener: std::net::TcpListener,
    shared: &Arc<Shared>,
    stopped: oneshot::Receiver<Infallible>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime on this thread").block_on(async {
        let listener = TcpListener::from_std(listener).expect("the socket does not block");
        tokio::pin!(stopped);
        loop {
            let stream = tokio::select! {
                _ = &mut stopped => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
            };
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                let service = service_fn(|request| respond(&shared, request));
                let connection = hyper::server::conn::http1::Builder::new();
                // Fails where a client goes away or a fault cuts it off.
                let _ = connection
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn respond(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let fault = lock(&shared.faults).due(&path);
    if fault == Some(Fault::Hang) {
        record(shared, &request, 0, 0);
        return pending().await;
    }
    let mut response = response(shared, &request, fault.as_ref());
    let length = response.body().announced();
    response
        .headers_mut()
        .entry(header::CONTENT_LENGTH)
        .or_insert(length.into());
    if request.method() == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    record(
        shared,
        &request,
        response.status().as_u16(),
        response.body().sent(),
    );
    Ok(response)
}

fn response(shared: &Shared, request: &Request<Incoming>, fault: Option<&Fault>) -> Response<Body> {
    let path = request.uri().path();
    match fault {
        Some(Fault::Unavailable { .. }) => return plain(StatusCode::SERVICE_UNAVAILABLE),
        Some(Fault::Status(status)) => {
            return plain(StatusCode::from_u16(*status).expect("a status"));
        }
        _ => {}
    }
    if !is_allowed(shared, request.headers()) {
        let mut response = plain(StatusCode::UNAUTHORIZED);
        let challenge = HeaderValue::from_static("Basic realm=\"testkit\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
        return response;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut answer = (shared.handler)(path, request.headers());
    if fault == Some(&Fault::HtmlForMissing) && answer.status == StatusCode::NOT_FOUND {
        answer = Answer::ok("text/html", "<!DOCTYPE html><title>Welcome</title>\n");
    }
    if fault == Some(&Fault::WrongBytes) {
        answer.spoil();
    }
    if let Some(Fault::Truncate { length }) = fault {
        answer.body.truncate(*length);
    }
    let ranges = match fault {
        Some(Fault::NoRanges) => Ranges::Ignored,
        _ => Ranges::Served,
    };
    let mut response = answer.response(request.headers(), ranges);
    match fault {
        Some(Fault::Reset { after }) => response.body_mut().end_early(*after, End::Reset),
        Some(Fault::Stall { after }) => response.body_mut().end_early(*after, End::Stall),
        _ => {}
    }
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::new(format!("{status}\n").into()));
    *response.status_mut() = status;
    response
}

fn is_allowed(shared: &Shared, headers: &HeaderMap) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|it| it.to_str().ok());
    lock(&shared.credentials)
        .as_deref()
        .is_none_or(|expected| given == Some(expected))
}

fn record(shared: &Shared, request: &Request<Incoming>, status: u16, bytes: u64) {
    let text = |name| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
    lock(&shared.served).push(Served {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        status,
        bytes,
        range: text(header::RANGE),
        user_agent: text(header::USER_AGENT),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    fn server() -> Server {
        Server::start(|path, _| match path {
            "/ten" => Answer::ok("text/plain", "0123456789"),
            _ => Answer::not_found(),
        })
    }

    /// The status and the body that came before the connection ended.
    fn get(server: &Server, path: &str, header: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return (0, text);
        };
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    #[test]
    fn ranges() {
        let server = server();
        for (range, expected) in [
            ("bytes=2-4", (206, "234")),
            ("bytes=7-", (206, "789")),
            ("bytes=-2", (206, "89")),
            ("bytes=5-99", (206, "56789")),
            ("bytes=10-", (416, "")),
            ("lines=1-2", (200, "0123456789")),
        ] {
            let (status, body) = get(&server, "/ten", &format!("Range: {range}\r\n"));
            assert_eq!((status, body.as_str()), expected, "{range}");
        }
        server.fault("/ten", Fault::NoRanges);
        assert_eq!(get(&server, "/ten", "Range: bytes=2-4\r\n").0, 200);
    }

    #[test]
    fn faults_come_and_go() {
        let server = server();
        let body = |fault| {
            server.fault("/t*", fault);
            let answer = get(&server, "/ten", "");
            server.clear_faults();
            answer
        };
        let is = |status, text: &str| (status, text.to_owned());
        assert_eq!(body(Fault::Truncate { length: 3 }), is(200, "012"));
        assert_eq!(body(Fault::Reset { after: 4 }), is(200, "0123"));
        assert_eq!(body(Fault::Stall { after: 5 }), is(200, "01234"));
        assert_eq!(body(Fault::Hang), is(0, ""));
        assert_eq!(body(Fault::Status(403)).0, 403);
        assert_eq!(get(&server, "/ten", ""), is(200, "0123456789"));
        server.fault("/ten", Fault::Unavailable { times: 2 });
        let statuses = [(); 3].map(|()| get(&server, "/ten", "").0);
        assert_eq!(statuses, [503, 503, 200]);
        assert_eq!(get(&server, "/none", "").0, 404);
        server.fault("*", Fault::HtmlForMissing);
        assert_eq!(get(&server, "/none", "").0, 200);
    }

    #[test]
    fn it_counts_and_asks_for_credentials() {
        let server = server();
        get(&server, "/ten", "Range: bytes=1-2\r\n");
        server.require_credentials("user", "secret");
        assert_eq!(get(&server, "/ten", "").0, 401);
        let header = format!(
            "Authorization: Basic {}\r\n",
            STANDARD.encode("user:secret")
        );
        assert_eq!(get(&server, "/ten", &header).0, 200);
        assert_eq!(server.requests("/ten"), 3);
        let sent: Vec<_> = server
            .served()
            .iter()
            .map(|it| (it.status, it.bytes))
            .collect();
        assert_eq!((sent[0], sent[2]), ((206, 2), (200, 10)));
    }

    #[test]
    fn it_ends_when_it_is_dropped() {
        let server = server();
        server.fault("*", Fault::Hang);
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        while server.requests("/") == 0 {
            std::thread::yield_now();
        }
        drop(server);
        // The end of the connection, and not the time limit.
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert!(
            matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)),
            "{end:?}"
        );
    }
}
