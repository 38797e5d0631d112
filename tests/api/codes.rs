//! Every code of the table, had from a live server: each has something that produces it, and is what the table says.

use std::{collections::BTreeSet, time::Duration};

use cti_server::http::error::ErrorCode;
use futures_util::stream;
use reqwest::{Method, RequestBuilder, Url};
use serde_json::{Value, json};
use sqlx::Connection;

use crate::{
    errors::documented,
    support::{Answer, App, Ask, Call, Dialpad, EventStream, TestServer, World, eventually},
};

// Servers that share a database: on SQLite a second one is refused.
on_postgres![every_code_is_produced_as_the_table_says];

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";
const NUMBER: &str = "+14155551234";

async fn every_code_is_produced_as_the_table_says(world: World) {
    let walk = Walk::begin(world).await;
    let table = documented();
    let mut request_ids = BTreeSet::new();
    for code in ErrorCode::ALL {
        let answer = Box::pin(walk.produce(*code)).await;
        let row = &table[code.as_str()];
        let error = answer.refuses(row.status, code.as_str());
        assert_eq!(answer.header("retry-after").is_some(), row.has_retry_after, "{answer}");
        if let Some(wait) = answer.header("retry-after") {
            assert!(wait.parse::<u32>().is_ok_and(|wait| (1..=60).contains(&wait)), "{answer}");
        }
        assert_eq!(error.get("details").is_some(), row.has_details, "{answer}");
        assert!(request_ids.insert(error["request_id"].to_string()), "{answer}");
    }
}

/// One world with one server in it, and others for what only theirs can answer.
struct Walk {
    world: World,
    dialpad: Dialpad,
    server: TestServer,
}

impl Walk {
    async fn begin(world: World) -> Self {
        let dialpad = Dialpad::start().await;
        let world = world
            .with_dialpad(&dialpad)
            .with("OAUTH_STARTS_PER_MINUTE", "0")
            .with("WS_MAX_SESSIONS_PER_APP", "1");
        let server = world.start().await;
        Self { world, dialpad, server }
    }

    /// Has a server answer with this code.
    async fn produce(&self, code: ErrorCode) -> Answer {
        let server = &self.server;
        let app = server.create_app("CRM").await;
        let of_app = |path: &str| server.get(path).by(&app).answer();
        let of_administrator = |path: String| server.get(&path).by_admin().answer();
        match code {
            ErrorCode::InvalidRequest => of_app("/api/calls?limit=0").await,
            ErrorCode::OauthStateInvalid => server.get("/callback?code=x&state=x").answer().await,
            ErrorCode::OauthDenied => self.finish_authorization(&app, "error=access_denied").await,
            ErrorCode::MissingApiKey => server.get("/api/calls").answer().await,
            ErrorCode::InvalidApiKey => server.get("/api/calls").header("x-api-key", "raw_x").answer().await,
            ErrorCode::MissingBearer => server.get("/internal/apps").answer().await,
            ErrorCode::TokensExpired => {
                server.connect(&app).await;
                self.dialpad.revoke_tokens(None).await;
                order(server, &app).answer().await
            }
            ErrorCode::InvalidSignature => {
                server.post("/webhooks").header("x-dialpad-signature", "00").body("{}").answer().await
            }
            ErrorCode::Forbidden => server.get("/internal/apps").bearer_auth("wrong").answer().await,
            ErrorCode::HttpsRequired => {
                let production = self.world.clone().with("CTI_ENV", "production");
                let production = production.with("PUBLIC_URL", "https://cti.example.com").start().await;
                production.post("/webhooks").header("x-forwarded-proto", "http").answer().await
            }
            ErrorCode::AppInactive => {
                let change = server.request(Method::PATCH, &format!("/internal/apps/{}", app.id)).by_admin();
                change.json(&json!({"is_active": false})).answer().await.ok();
                of_app("/api/calls").await
            }
            ErrorCode::NotFound => server.get("/nowhere").answer().await,
            ErrorCode::AppNotFound => of_administrator(format!("/internal/apps/{NOBODY}")).await,
            ErrorCode::CallNotFound => of_app("/api/calls/1").await,
            ErrorCode::InteractionNotFound => of_app("/api/interactions/1").await,
            ErrorCode::ConsumerNotFound => of_app("/api/consumers/nobody").await,
            ErrorCode::VoicemailNotFound => of_app("/api/voicemails/1").await,
            ErrorCode::MessageNotFound => of_app("/api/messages/1").await,
            ErrorCode::RecordingNotFound => {
                self.happens(&app, &Call::new(1).ring(0)).await;
                of_app("/api/calls/1/recording").await
            }
            ErrorCode::UserMappingNotFound => {
                of_administrator(format!("/internal/apps/{}/users/mappings/dialpad/1", app.id)).await
            }
            ErrorCode::WebhookEventNotFound => {
                of_administrator(format!("/internal/webhook-events/{NOBODY}")).await
            }
            ErrorCode::WebhookNotFound => of_administrator(format!("/internal/webhooks/{NOBODY}")).await,
            ErrorCode::MethodNotAllowed => server.request(Method::PUT, "/api/calls").answer().await,
            ErrorCode::NotConnected => order(server, &app).answer().await,
            ErrorCode::AlreadyProcessed => {
                let event = self.happens(&app, &Call::new(1).ring(0)).await;
                server.post(&format!("/internal/webhook-events/{event}/replay")).by_admin().answer().await
            }
            ErrorCode::IdempotencyKeyInUse => self.two_at_once(&app).await,
            ErrorCode::TooManyConsumers => {
                self.have_many_consumers(&app).await;
                of_app("/api/events?consumer=another").await
            }
            ErrorCode::CursorAhead => of_app("/api/events?after=9").await,
            ErrorCode::EpochChanged => of_app(&format!("/api/events?after={NOBODY}:0")).await,
            ErrorCode::CursorExpired => self.wait_too_long(&app).await,
            ErrorCode::RequestTimeout => {
                let body = reqwest::Body::wrap_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
                server.post("/webhooks").body(body).timeout(Duration::from_secs(60)).answer().await
            }
            ErrorCode::PayloadTooLarge => {
                server.post("/webhooks").body("x".repeat((256 << 10) + 1)).answer().await
            }
            ErrorCode::UnsupportedMediaType => {
                server.post("/webhooks").header("content-encoding", "gzip").body("x").answer().await
            }
            ErrorCode::RangeNotSatisfiable => self.ask_beyond_the_end(&app).await,
            ErrorCode::IdempotencyKeyReused => {
                let create = |name: &str| {
                    let request = server.post("/internal/apps").by_admin().header("Idempotency-Key", "twice");
                    request.json(&json!({"name": name})).answer()
                };
                create("one").await.ok();
                create("another").await
            }
            ErrorCode::RateLimited => {
                let strict = self.world.clone().with("AUTH_FAILURES_PER_MINUTE", "1").start().await;
                strict.get("/internal/apps").bearer_auth("wrong").answer().await;
                strict.get("/internal/apps").bearer_auth("wrong").answer().await
            }
            ErrorCode::DialpadRateLimited => self.order_answered(&app, "too_many_requests").await,
            ErrorCode::TooManyConnections => {
                let _first = EventStream::open(server.get("/api/events/stream").by(&app)).await;
                of_app("/api/events/stream").await
            }
            ErrorCode::Internal => {
                server.connect(&app).await;
                self.break_the_seals(&app).await;
                order(server, &app).answer().await
            }
            ErrorCode::DialpadRefused => self.order_answered(&app, "not_found").await,
            ErrorCode::RecordingUnavailable => {
                server.connect(&app).await;
                let mut ended = Call::new(1).ended(60);
                ended["recording_url"] = "http://169.254.169.254/latest".into();
                self.happens(&app, &ended).await;
                of_app("/api/calls/1/recording").await
            }
            ErrorCode::TokenExchangeRejected => self.finish_authorization(&app, "code=forged").await,
            ErrorCode::OutcomeUnknown => self.order_answered(&app, "server_error").await,
            ErrorCode::DialpadUnavailable => {
                server.connect(&app).await;
                // Nobody listens there.
                let nowhere = self.world.clone().with("DIALPAD_SANDBOX_BASE_URL", "http://127.0.0.1:1");
                let alone = nowhere.with("AUTO_SUBSCRIBE", "false").start().await;
                order(&alone, &app).answer().await
            }
            ErrorCode::TokenExchangeFailed => {
                let broken = json!([{"to": "token", "answer": "server_error", "times": null}]);
                self.dialpad.switch(&json!({"next_answers": broken})).await;
                let answer = self.finish_authorization(&app, "code=any").await;
                self.dialpad.switch(&json!({"next_answers": Value::Array(Vec::new())})).await;
                answer
            }
            ErrorCode::OauthNotConfigured => {
                let bare = self.world.clone().without("DIALPAD_SANDBOX_CLIENT_ID");
                let bare = bare.without("DIALPAD_SANDBOX_CLIENT_SECRET").start().await;
                bare.get(&format!("/authorize?app_id={}", app.id)).answer().await
            }
            ErrorCode::DatabaseUnavailable => self.order_while_the_database_is_locked().await,
        }
    }

    /// Dialpad tells of a call, and that is dealt with. Gives the webhook's id.
    async fn happens(&self, app: &App, payload: &Value) -> String {
        let ack = self.server.webhook(app, payload).await;
        eventually("the webhook is dealt with", async || {
            let path = format!("/internal/webhook-events/{}", ack.event_id);
            let row = self.server.get(&path).by_admin().answer().await.ok();
            (row["status"] == "processed").then_some(())
        })
        .await;
        ack.event_id
    }

    /// A person was sent to Dialpad and comes back with this, and the right state.
    async fn finish_authorization(&self, app: &App, outcome: &str) -> Answer {
        let sent = self.server.authorize(app).await;
        let url = Url::parse(&sent.location).expect("an address");
        let state = url.query_pairs().find(|(name, _)| name == "state").expect("a state is sent along").1;
        let callback = format!("{}/callback?{outcome}&state={state}", self.server.base_url);
        self.server.finish_authorization(&callback, sent.cookie()).await
    }

    /// Dialpad answers an order so.
    async fn order_answered(&self, app: &App, answer: &str) -> Answer {
        self.server.connect(app).await;
        let once = json!({"to": "api", "only": "POST /api/v2/call", "answer": answer, "retry_after": "1"});
        self.dialpad.switch(&json!({"next_answers": [once]})).await;
        order(&self.server, app).answer().await
    }

    /// The same request again, while the first is under way.
    async fn two_at_once(&self, app: &App) -> Answer {
        self.server.connect(app).await;
        let place = || order(&self.server, app).header("Idempotency-Key", "click").answer();
        self.dialpad.switch(&json!({"api_answer_delay_ms": 5_000})).await;
        let asked = self.dialpad.requests("/api/v2/call").await.len();
        let second = async {
            eventually("Dialpad is asked", async || {
                (self.dialpad.requests("/api/v2/call").await.len() > asked).then_some(())
            })
            .await;
            place().await
        };
        let (first, second) = tokio::join!(place(), second);
        self.dialpad.switch(&json!({"api_answer_delay_ms": 0})).await;
        assert_eq!(first.status, 201, "{first}");
        second
    }

    async fn wait_too_long(&self, app: &App) -> Answer {
        self.server.webhooks(app, &Call::new(1).life()).await;
        self.server.wait_for_events(app, 5).await;
        self.world.execute(&format!("DELETE FROM events WHERE app_id = '{}'", app.id)).await;
        self.world.execute("UPDATE event_feeds SET oldest_seq = last_seq + 1").await;
        // A server that has the events in memory would still return them.
        let another = self.world.start().await;
        another.get("/api/events?after=2").by(app).answer().await
    }

    /// A part of a recording that begins behind its end.
    async fn ask_beyond_the_end(&self, app: &App) -> Answer {
        self.server.connect(app).await;
        self.dialpad.wait_for_registration(app).await;
        let flow = json!({"flow": "answered", "calls": 1, "pace": 0, "wait_for_subscriber": true});
        let deliveries = self.dialpad.play(&flow).await;
        let path = format!("/api/calls/{}", deliveries[0]["call_id"]);
        eventually("the recording is known", async || {
            let answer = self.server.get(&path).by(app).answer().await;
            (answer.status == 200 && answer.json()["recording_url"].is_string()).then_some(())
        })
        .await;
        let recording = self.server.get(&format!("{path}/recording")).by(app);
        recording.header("range", "bytes=999999999-").answer().await
    }

    /// Makes what the server keeps sealed of the app unreadable.
    async fn break_the_seals(&self, app: &App) {
        let nonsense = if self.world.is_on_postgres() { "'\\x00'" } else { "x'00'" };
        let update = "UPDATE dialpad_connections SET access_token =";
        self.world.execute(&format!("{update} {nonsense} WHERE app_id = '{}'", app.id)).await;
    }

    /// As many consumers as an app may have.
    async fn have_many_consumers(&self, app: &App) {
        let then = "'2024-01-01T00:00:00Z'";
        let insert = format!(
            "INSERT INTO consumers (app_id, name, mode, acked_seq, holder, connections, held_until, created_at, \
             updated_at)
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)
             SELECT '{}', 'consumer-' || n, 'exclusive', 0, 0, 0, {then}, {then}, {then} FROM numbers",
            app.id
        );
        self.world.execute(&insert).await;
    }

    /// Somebody else keeps the database to themselves.
    async fn order_while_the_database_is_locked(&self) -> Answer {
        let create = || self.server.post("/internal/apps").by_admin().json(&json!({"name": "late"})).answer();
        let url = self.world.setting("DATABASE_URL");
        if self.world.is_on_postgres() {
            let mut db = sqlx::PgConnection::connect(url).await.expect("the database can be reached");
            let mut lock = db.begin().await.expect("a transaction");
            let whole = "LOCK TABLE apps IN ACCESS EXCLUSIVE MODE";
            sqlx::query(whole).execute(&mut *lock).await.expect("locked");
            create().await
        } else {
            let mut db = sqlx::SqliteConnection::connect(url).await.expect("the database can be opened");
            let _lock = db.begin_with("BEGIN IMMEDIATE").await.expect("locked");
            create().await
        }
    }
}

/// A call is to be placed.
fn order(server: &TestServer, app: &App) -> RequestBuilder {
    let order = json!({"dialpad_user_id": Dialpad::USER, "phone_number": NUMBER});
    server.post("/api/calls").by(app).json(&order)
}
