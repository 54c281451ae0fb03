//! What operators ask: alive, able to serve, metrics.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::PrometheusHandle;

use super::ApiError;
use super::admission::Admission;
use super::routing::{Access, resource};
use crate::store::{Db, health};

/// Registers health and readiness.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/healthz", Access::Public, "GET, HEAD")
            .route(web::get().to(alive))
            .route(web::head().to(alive)),
    )
    .service(
        resource("/readyz", Access::Public, "GET, HEAD")
            .route(web::get().to(ready))
            .route(web::head().to(ready)),
    );
}

/// Registers the metrics, on the main address or on their own.
pub fn configure_metrics(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/metrics", Access::Public, "GET, HEAD")
            .route(web::get().to(metrics))
            .route(web::head().to(metrics)),
    );
}

async fn alive() -> HttpResponse {
    plain("ok\n".to_owned())
}

/// The database answers. Migrations ran before the service began to listen.
async fn ready(db: web::Data<Db>) -> Result<HttpResponse, ApiError> {
    db.read("health", |conn| Ok(health::answers(conn)?)).await?;
    Ok(plain("ready\n".to_owned()))
}

async fn metrics(
    handle: web::Data<PrometheusHandle>,
    db: web::Data<Db>,
    admission: web::Data<Arc<Admission>>,
) -> Result<HttpResponse, ApiError> {
    metrics::gauge!("roost_http_in_flight").set(admission.in_flight() as f64);
    let (reading, writing) = db.in_use();
    metrics::gauge!("roost_db_connections_in_use", "lane" => "read").set(reading as f64);
    metrics::gauge!("roost_db_connections_in_use", "lane" => "write").set(writing as f64);
    // It takes a millisecond or more: a page that waits for it would take ten times as long.
    let text = web::block(move || handle.render()).await.map_err(|error| {
        tracing::error!(%error, "the metrics were not written");
        ApiError::Internal
    })?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text))
}

fn plain(text: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}
