//! Sinks outside: what a transform made is delivered first, and then the cursor is moved. A crash in between delivers it again, under the same ids.
//!
//! A webhook gets JSON lines, each with an `id` of `<edge>/<source slate>/<position>/<part>` that is the same however often it comes, and the
//! header `Idempotency-Key: <edge>/<source slate>/<first position>`. A receiver of remote write keeps one sample for each series and time by itself.

use bytes::Bytes;
use opendata_core::slate::SlateId;
use opendata_core::{Error, Position, Result};
use opendata_vector::Document;
use serde_json::{Map, Value, json};

use super::http::Endpoint;
use super::spec::{EdgeSpec, HttpSink};
use super::transform::Output;

mod remote_write;

/// Delivers to an endpoint.
pub(crate) struct Delivery {
    endpoint: Endpoint,
    form: Form,
    edge: String,
}

enum Form {
    Webhook,
    RemoteWrite,
}

impl Delivery {
    /// The delivery that a specification asks for; none if its sink is an instance.
    pub(crate) fn of(spec: &EdgeSpec) -> Result<Option<Self>> {
        let open = |sink: &HttpSink| Endpoint::new(&sink.url, &sink.headers, sink.timeout_ms);
        let (endpoint, form) = match (&spec.to.webhook, &spec.to.remote_write) {
            (Some(sink), _) => (open(sink)?, Form::Webhook),
            (None, Some(sink)) => (open(sink)?, Form::RemoteWrite),
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { endpoint, form, edge: spec.id.clone() }))
    }

    /// Delivers outputs. `origins` are the positions of the records that they were made of; results of windows, behind them, have none.
    ///
    /// # Errors
    /// `Unavailable` if it may work another time, `Invalid` if the endpoint refuses what is in it.
    pub(crate) async fn deliver(&self, source: SlateId, outputs: Vec<Output>, origins: &[Position]) -> Result<()> {
        let Some(first) = origins.first().copied().or_else(|| (!outputs.is_empty()).then_some(Position::ZERO)) else {
            return Ok(());
        };
        match self.form {
            Form::Webhook => {
                let body = self.lines(source, outputs, origins)?;
                let key = format!("{}/{source}/{first}", self.edge);
                let headers = [("content-type", "application/x-ndjson".to_owned()), ("idempotency-key", key)];
                self.endpoint.post(&headers, body).await?;
            }
            Form::RemoteWrite => {
                let body = remote_write::body(outputs)?;
                self.endpoint.post(&remote_write::headers(), body).await?;
            }
        }
        Ok(())
    }

    fn lines(&self, source: SlateId, outputs: Vec<Output>, origins: &[Position]) -> Result<Bytes> {
        let mut body = Vec::new();
        let (mut last, mut part) = (None, 0u32);
        for (index, output) in outputs.into_iter().enumerate() {
            let origin = origins.get(index).copied();
            part = if last == Some(origin) { part + 1 } else { 0 };
            last = Some(origin);
            let mut line = line(output);
            let id = match origin {
                Some(position) => format!("{}/{source}/{position}/{part}", self.edge),
                // The result of a window is known by its series and its time.
                None => format!("{}/{source}/window/{}/{}", self.edge, field(&line, "labels"), field(&line, "time")),
            };
            line.insert("id".to_owned(), id.into());
            if let Some(position) = origin {
                line.insert("position".to_owned(), position.0.into());
            }
            serde_json::to_writer(&mut body, &line)
                .map_err(|error| Error::invalid("a record has no JSON form").with_source(error))?;
            body.push(b'\n');
        }
        Ok(body.into())
    }
}

fn field(line: &Map<String, Value>, name: &str) -> String {
    line.get(name).map(Value::to_string).unwrap_or_default()
}

fn line(output: Output) -> Map<String, Value> {
    let value = match output {
        Output::Append(stream, record) => {
            let (payload, headers) = (record.content(), record.headers());
            let headers: Map<String, Value> =
                headers.iter().map(|(name, value)| (name.to_owned(), String::from_utf8_lossy(value).into())).collect();
            let payload = match serde_json::from_slice::<Value>(payload) {
                Ok(payload) => ("payload", payload),
                Err(_) => match std::str::from_utf8(payload) {
                    Ok(text) => ("text", text.into()),
                    Err(_) => ("bytes_hex", opendata_core::Hex(payload).to_string().into()),
                },
            };
            let mut line = json!({
                "stream": String::from_utf8_lossy(&stream),
                "event_time": record.event_time_set().map(|time| time.0),
                "headers": headers,
            });
            if let Value::Object(line) = &mut line {
                line.insert(payload.0.to_owned(), payload.1);
            }
            line
        }
        Output::Sample(labels, at, value) => json!({"labels": labels_of(&labels), "time": at.0, "value": value}),
        Output::Add(labels, at, value) => json!({"labels": labels_of(&labels), "time": at.0, "add": value}),
        Output::Observe(..) => json!({}),
        Output::Upsert(document) => document_of(&document),
        Output::Delete(id) => json!({"delete": String::from_utf8_lossy(&id)}),
    };
    match value {
        Value::Object(line) => line,
        _ => Map::new(),
    }
}

fn labels_of(labels: &opendata_tsdb::Labels) -> Map<String, Value> {
    labels.iter().map(|label| (label.name().to_owned(), label.value().into())).collect()
}

fn document_of(document: &Document) -> Value {
    let attributes: Map<String, Value> =
        document.attributes.iter().map(|(name, value)| (name.clone(), format!("{value:?}").into())).collect();
    json!({
        "document": String::from_utf8_lossy(&document.id),
        "texts": document.texts,
        "vectors": document.vectors,
        "attributes": attributes,
    })
}
