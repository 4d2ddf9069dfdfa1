//! Tells Alertmanagers of alerts (`POST /api/v2/alerts`,
//! <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>).
//!
//! Each has a queue and a task of its own: one that is away holds up nobody. What it does not take is sent again, later and later; a
//! queue that is full forgets its oldest, which is counted. Alerts that go on are told again anyway.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opendata_core::{Error, Result, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::alert::Alert;
use super::config::{AlertmanagerConfig, Settings};
use crate::scrape::credentials;
use crate::times;

/// How many alerts may wait for one Alertmanager, and how many are sent at a time.
const WAITING: usize = 10_000;
const BATCH: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What came of telling.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) sent: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// Tells all Alertmanagers of an instance.
#[derive(Clone, Default)]
pub(super) struct Notifier {
    queues: Vec<Arc<Queue>>,
    told: Arc<Told>,
}

struct Queue {
    url: String,
    config: AlertmanagerConfig,
    waiting: Mutex<VecDeque<Value>>,
    more: Notify,
}

impl Notifier {
    pub(super) fn start(settings: &Settings, ending: &watch::Receiver<bool>) -> Result<(Self, Vec<JoinHandle<()>>)> {
        let mut notifier = Self::default();
        let mut tasks = Vec::new();
        for config in &settings.alertmanagers {
            for url in config.urls() {
                let client = Client::builder()
                    .timeout(config.timeout.as_duration())
                    .build()
                    .map_err(|error| Error::unavailable("an HTTP client cannot be made").with_source(error))?;
                let (waiting, more) = (Mutex::default(), Notify::new());
                let queue = Arc::new(Queue { url, config: config.clone(), waiting, more });
                notifier.queues.push(Arc::clone(&queue));
                tasks.push(tokio::spawn(run(queue, client, Arc::clone(&notifier.told), ending.clone())));
            }
        }
        Ok((notifier, tasks))
    }

    pub(super) fn told(&self) -> &Told {
        &self.told
    }

    /// Where alerts are sent.
    pub(super) fn urls(&self) -> Vec<String> {
        self.queues.iter().map(|queue| queue.url.clone()).collect()
    }

    /// Tells of alerts, some time.
    pub(super) fn tell(&self, alerts: &[Alert], query: &str, settings: &Settings) {
        if alerts.is_empty() || self.queues.is_empty() {
            return;
        }
        let bodies: Vec<Value> = alerts.iter().map(|alert| body(alert, query, settings)).collect();
        for queue in &self.queues {
            let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.extend(bodies.iter().cloned());
            let surplus = waiting.len().saturating_sub(WAITING);
            waiting.drain(..surplus);
            self.told.dropped.fetch_add(surplus as u64, Ordering::Relaxed);
            drop(waiting);
            queue.more.notify_one();
        }
    }
}

fn body(alert: &Alert, query: &str, settings: &Settings) -> Value {
    let mut labels: serde_json::Map<String, Value> =
        settings.external_labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    for label in &alert.labels {
        labels.insert(label.name().to_owned(), label.value().into());
    }
    let time = |time: Option<Timestamp>| time.map(times::show);
    let mut body = json!({
        "labels": labels,
        "annotations": alert.annotations,
        "startsAt": time(alert.fired_at.or(Some(alert.active_at))),
        "generatorURL": generator_url(query, settings),
    });
    if let (Some(body), Some(end)) = (body.as_object_mut(), time(alert.resolved_at.or(alert.valid_until))) {
        body.insert("endsAt".to_owned(), end.into());
    }
    body
}

/// Where the query of an alert can be looked at.
fn generator_url(query: &str, settings: &Settings) -> String {
    let query: String = reqwest::Url::parse_with_params("http://x/graph", [("g0.expr", query), ("g0.tab", "1")])
        .map(|url| format!("{}?{}", url.path(), url.query().unwrap_or_default()))
        .unwrap_or_default();
    format!("{}{query}", settings.external_url.trim_end_matches('/'))
}

async fn run(queue: Arc<Queue>, client: Client, told: Arc<Told>, mut ending: watch::Receiver<bool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let batch: Vec<Value> = {
            let waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.iter().take(BATCH).cloned().collect()
        };
        if batch.is_empty() {
            tokio::select! {
                () = queue.more.notified() => continue,
                // An error means that nobody is left to tell, which is an end as well.
                _ = ending.wait_for(|ending| *ending) => return,
            }
        }
        let sent = tokio::select! {
            sent = queue.send(&client, &batch) => sent,
            _ = ending.wait_for(|ending| *ending) => return,
        };
        let count = batch.len() as u64;
        match sent {
            Sent::Taken => {
                told.sent.fetch_add(count, Ordering::Relaxed);
                queue.forget(&batch);
                pause = FIRST_PAUSE;
            }
            Sent::Refused(why) => {
                tracing::error!(why, url = queue.url, count, "alerts are refused, and dropped");
                told.failures.fetch_add(1, Ordering::Relaxed);
                told.dropped.fetch_add(count, Ordering::Relaxed);
                queue.forget(&batch);
            }
            Sent::Failed(why) => {
                tracing::warn!(why, url = queue.url, count, "alerts cannot be sent, and will be tried again");
                told.failures.fetch_add(1, Ordering::Relaxed);
                if tokio::time::timeout(pause, ending.wait_for(|ending| *ending)).await.is_ok() {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// What became of a batch.
enum Sent {
    Taken,
    /// It will never be taken.
    Refused(String),
    /// It may be taken another time.
    Failed(String),
}

impl Queue {
    /// Takes a batch from the front of the queue, as far as it is still there.
    fn forget(&self, batch: &[Value]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for sent in batch {
            if waiting.front() == Some(sent) {
                waiting.pop_front();
            }
        }
    }

    async fn send(&self, client: &Client, batch: &[Value]) -> Sent {
        let body = Value::from(batch.to_vec()).to_string();
        let mut request = client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        match credentials(self.config.basic_auth.as_ref(), self.config.authorization.as_ref()) {
            Ok(Some(credentials)) => request = request.header(AUTHORIZATION, credentials),
            Ok(None) => {}
            Err(error) => return Sent::Failed(error.message().to_owned()),
        }
        match request.send().await {
            Err(error) => Sent::Failed(error.to_string()),
            Ok(answer) if answer.status().is_success() => Sent::Taken,
            Ok(answer) => {
                let status = answer.status();
                let why = format!("HTTP status {status}");
                match status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
                    true => Sent::Refused(why),
                    false => Sent::Failed(why),
                }
            }
        }
    }
}
