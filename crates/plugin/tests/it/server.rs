//! A small API server on loopback: answers by method and path, and remembers what it was asked.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// What came in: `METHOD path?query`, and the body.
pub type Seen = (String, Value);

/// One answer; the last of several for the same question is given again and again.
struct Answer {
    status: u16,
    body: Value,
    warning: Option<String>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Vec<Answer>>,
    seen: Vec<Seen>,
}

pub struct Server {
    state: Arc<Mutex<State>>,
    pub dir: PathBuf,
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Server {
    /// One that knows who calls: `me` is told to whoever asks who they are.
    pub fn start(me: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        });
        fs::write(dir.join("kubeconfig"), kubeconfig.to_string()).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        let server = Self { state, dir };
        let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
            "status": {"userInfo": {"username": me, "groups": ["system:authenticated"]}}});
        server.on("POST /apis/authentication.k8s.io/v1/selfsubjectreviews", 201, who);
        server.grants(true);
        server
    }

    /// Whether the caller holds every right, or none, from now on.
    pub fn grants(&self, allowed: bool) {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {}, "status": {"allowed": allowed}});
        let question = "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        self.state.lock().unwrap().answers.remove(question);
        self.on(question, 201, review);
    }

    /// Answers a question, by its method and path; given again it is the next answer to the same.
    pub fn on(&self, question: &str, status: u16, body: Value) {
        let answer = Answer { status, body, warning: None };
        self.state.lock().unwrap().answers.entry(question.to_owned()).or_default().push(answer);
    }

    /// The same with a warning beside it.
    pub fn warning(&self, question: &str, body: Value, warning: &str) {
        let answer = Answer { status: 200, body, warning: Some(warning.to_owned()) };
        self.state.lock().unwrap().answers.entry(question.to_owned()).or_default().push(answer);
    }

    /// A refusal, as the API server passes it on.
    pub fn refuse(&self, question: &str, text: &str) {
        let message = format!("admission webhook \"guard.foureyes.dev\" denied the request: {text}");
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": "Forbidden", "code": 403});
        self.on(question, 403, status);
    }

    /// What was asked that begins so.
    pub fn seen(&self, begins: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        state.seen.iter().filter(|(question, _)| question.starts_with(begins)).cloned().collect()
    }

    /// Runs the plugin without a terminal.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "")
    }

    /// The same with something on its standard input.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Ended {
        let path = format!("{}:{}", self.dir.display(), std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-foureyes"))
            .args(args)
            .env("KUBECONFIG", self.dir.join("kubeconfig"))
            .env("PATH", path)
            .env_remove("FOUREYES_NAMESPACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // What asks for nothing has closed it already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Ended::of(&child.wait_with_output().unwrap())
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split_whitespace();
        let question = format!("{} {}", words.next().unwrap(), words.next().unwrap());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let reply = reply(state, question, body);
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn reply(state: &Mutex<State>, question: String, body: Value) -> String {
    let mut state = state.lock().unwrap();
    let key = question.split('?').next().unwrap().to_owned();
    let echoed = body.clone();
    state.seen.push((question, body));
    let (status, body, warning) = match state.answers.get_mut(&key) {
        Some(answers) if answers.len() > 1 => {
            let answer = answers.remove(0);
            (answer.status, answer.body, answer.warning)
        }
        Some(answers) => (answers[0].status, answers[0].body.clone(), answers[0].warning.clone()),
        // What is created is stored under the name that its prefix would get.
        None if key.starts_with("POST ") => {
            let mut object = echoed;
            let prefix = object["metadata"]["generateName"].as_str().unwrap_or_default().to_owned();
            if !prefix.is_empty() {
                object["metadata"]["name"] = json!(format!("{prefix}1"));
            }
            (201, object, None)
        }
        None => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "not found", "reason": "NotFound", "code": 404});
            (404, status, None)
        }
    };
    let warning = warning.map(|text| format!("Warning: 299 - \"{text}\"\r\n")).unwrap_or_default();
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{warning}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
