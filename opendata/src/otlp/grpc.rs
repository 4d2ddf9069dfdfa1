//! The protocol over gRPC: one method, `MetricsService/Export`, on an address of its own.
//!
//! The instance is the one that the call's metadata names as `opendata-instance`; without it the only one there is, or the
//! server's default.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use opendata_core::{Error, ErrorKind};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http;
use tonic::server::{Grpc, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::message::{ExportRequest, ExportResponse};
use crate::failure::Failure;
use crate::intake::Intake;

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// The metadata that names an instance.
const INSTANCE: &str = "opendata-instance";

/// Serves the method until `ending`.
pub(crate) async fn serve(
    listener: TcpListener,
    intake: Arc<Intake>,
    most_bytes: usize,
    ending: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let service = Metrics { intake, most_bytes };
    Server::builder()
        .serve_with_incoming_shutdown(service, TcpIncoming::from(listener), ending)
        .await
        .map_err(|error| Failure::Machine("the gRPC server ended".to_owned(), std::io::Error::other(error)))
}

#[derive(Clone)]
struct Metrics {
    intake: Arc<Intake>,
    most_bytes: usize,
}

type Pending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl Service<http::Request<Body>> for Metrics {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pending<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != EXPORT {
            return Box::pin(async { Ok(Status::unimplemented("only metrics are taken here").into_http()) });
        }
        let method = Export(Arc::clone(&self.intake));
        let most_bytes = self.most_bytes;
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<ExportResponse, ExportRequest>::default())
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(most_bytes);
            Ok(grpc.unary(method, request).await)
        })
    }
}

/// The method.
struct Export(Arc<Intake>);

impl UnaryService<ExportRequest> for Export {
    type Response = ExportResponse;
    type Future = Pending<Response<ExportResponse>, Status>;

    fn call(&mut self, request: Request<ExportRequest>) -> Self::Future {
        let intake = Arc::clone(&self.0);
        Box::pin(async move {
            let named = match request.metadata().get(INSTANCE).map(|value| value.to_str()) {
                None => None,
                Some(Ok(name)) => Some(name.to_owned()),
                Some(Err(_)) => return Err(Status::invalid_argument("the instance's name is not a text")),
            };
            let receiver = intake.otlp(named.as_deref()).map_err(|error| status(&error))?;
            let response = receiver.export(request.get_ref()).await.map_err(|error| status(&error))?;
            Ok(Response::new(response))
        })
    }
}

fn status(error: &Error) -> Status {
    Status::new(code(error.kind()), error.message())
}

/// The code of a kind of error: exporters try again by it.
pub(crate) fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid | ErrorKind::Conflict => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        // `ResourceExhausted` alone is final for an exporter; this is not.
        ErrorKind::Backpressure
        | ErrorKind::Fenced
        | ErrorKind::Unavailable
        | ErrorKind::Closed
        | ErrorKind::OutcomeUnknown => Code::Unavailable,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Corrupt => Code::DataLoss,
        _ => Code::Internal,
    }
}
