//! Traces: what an OTLP receiver gets, and that the server does not need one.

use std::{collections::BTreeMap, time::Duration};

use crate::support::{
    ADMIN_SECRET, Answering, Ask, Call, Collector, Dialpad, ReceivedSpan, WEBHOOK_SECRET, World, eventually,
};

on_both_databases![
    a_webhook_is_one_trace_from_its_request_to_each_session,
    a_trace_contains_no_secret_and_no_phone_number,
    the_trace_of_the_caller_is_continued,
    a_request_to_dialpad_is_in_the_trace_of_the_request_that_needs_it,
    a_receiver_that_is_away_or_refuses_or_hangs_is_not_missed,
    the_last_spans_are_sent_before_the_server_ends,
    without_an_endpoint_nothing_is_traced,
];

const STOP_WITHIN: Duration = Duration::from_secs(12);

fn traced(world: World, collector: &Collector) -> World {
    world.with("OTLP_ENDPOINT", &collector.endpoint)
}

async fn a_webhook_is_one_trace_from_its_request_to_each_session(world: World) {
    let collector = Collector::start(Answering::Yes).await;
    let server = traced(world, &collector).with("LOG_FORMAT", "json").start().await;
    let app = server.create_app("CRM").await;
    let mut sessions = [server.listen(&app).await, server.listen(&app).await];
    let ack = server.webhook(&app, &Call::new(1).ring(0)).await;
    let mut seq = String::new();
    for session in &mut sessions {
        seq = session.next_event().await["seq"].to_string();
    }

    let is_request = |span: &ReceivedSpan| span.attributes.get("webhook.id") == Some(&ack.event_id);
    let request =
        collector.span("the request", |span| span.name.starts_with("POST") && is_request(span)).await;
    let named = async |name: &str, parent: &ReceivedSpan| {
        collector.span(name, |span| span.name == name && span.parent == parent.id).await
    };
    let unit = named("unit of work", &request).await;
    let apply = named("apply", &unit).await;
    let commit = named("commit", &unit).await;
    let deliveries = eventually("both deliveries", async || {
        let spans = collector.spans();
        let of_unit: Vec<_> =
            spans.into_iter().filter(|it| it.name == "deliver" && it.parent == unit.id).collect();
        (of_unit.len() == 2).then_some(of_unit)
    })
    .await;

    for span in [&unit, &apply, &commit].into_iter().chain(&deliveries) {
        assert_eq!(span.trace, request.trace, "{span:#?}");
        assert!(span.began <= span.ended && !span.has_failed, "{span:#?}");
    }
    assert!(request.began <= unit.began && unit.began <= apply.began && apply.ended <= commit.ended);
    assert_eq!(request.resource["service.name"], "cti-server");
    assert_eq!(request.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(request.attributes["http.route"], "/webhooks/{app_id}");
    assert_eq!(request.attributes["http.response.status_code"], "200");
    assert_eq!(request.attributes["request.id"].len(), 36);
    assert_eq!(unit.attributes["app.id"], app.id);
    assert_eq!(unit.attributes["webhook.id"], ack.event_id);
    for delivery in &deliveries {
        let of = |name: &str| delivery.attributes[name].as_str();
        assert_eq!((of("seq"), of("event.type"), of("transport")), (&*seq, "call.ring", "websocket"));
    }
    assert_ne!(deliveries[0].attributes["session.id"], deliveries[1].attributes["session.id"]);
}

async fn a_trace_contains_no_secret_and_no_phone_number(world: World) {
    let collector = Collector::start(Answering::Yes).await;
    let server = traced(world, &collector).start().await;
    let app = server.create_app("CRM").await;
    let mut session = server.listen(&app).await;
    for payload in Call::new(1).between("+14155550101", "+14155550102").life() {
        server.webhook(&app, &payload).await;
    }
    session.events(5).await;
    server.get("/api/calls?number=%2B14155550101").by(&app).answer().await.ok();
    server.get("/api/calls/no-such-call").by(&app).answer().await;
    server.get(&format!("/ws?api_key={}", app.key)).answer().await;
    collector.span("the last request", |span| span.name == "GET /ws").await;
    collector
        .span("the call", |span| span.attributes.get("event.type").is_some_and(|it| it == "call.ended"))
        .await;
    let received = collector.text();
    for secret in ["4155550101", "4155550102", ADMIN_SECRET, WEBHOOK_SECRET, &app.key, "no-such-call"] {
        assert!(!received.contains(secret), "{secret} in {:#?}", collector.spans());
    }
}

async fn the_trace_of_the_caller_is_continued(world: World) {
    let collector = Collector::start(Answering::Yes).await;
    let server = traced(world, &collector).with("OTEL_TRACES_SAMPLER_ARG", "0").start().await;
    let app = server.create_app("CRM").await;
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let ask = async |flags: &str| {
        let caller = format!("00-{trace}-{span}-{flags}");
        server.get("/api/calls").by(&app).header("traceparent", caller).answer().await.ok();
    };
    ask("00").await;
    server.get("/api/calls").by(&app).answer().await.ok();
    ask("01").await;
    let request = collector.span("the request", |span| span.name == "GET /api/calls").await;
    assert_eq!((&*request.trace, &*request.parent), (trace, span));
    assert_eq!(collector.spans().len(), 1, "of the others, the caller or the ratio said no");
}

async fn a_request_to_dialpad_is_in_the_trace_of_the_request_that_needs_it(world: World) {
    let collector = Collector::start(Answering::Yes).await;
    let dialpad = Dialpad::start().await;
    let server = traced(world.with_dialpad(&dialpad), &collector).start().await;
    let app = server.create_app("CRM").await;
    server.connect(&app).await;
    let request = collector.span("the end of OAuth", |span| span.name.ends_with("/callback")).await;
    let token = collector.span("the request for tokens", |span| span.name == "dialpad token").await;
    assert_eq!((&token.trace, &token.parent), (&request.trace, &request.id));
    assert_eq!(token.attributes["dialpad.outcome"], "ok");
}

async fn a_receiver_that_is_away_or_refuses_or_hangs_is_not_missed(world: World) {
    let collector = Collector::start(Answering::With(500)).await;
    let mut server = traced(world, &collector).start().await;
    let app = server.create_app("CRM").await;
    let mut session = server.listen(&app).await;
    let mut call = 0;
    let mut works = async || {
        call += 1;
        server.webhook(&app, &Call::new(call).ring(0)).await;
        session.next_event().await;
    };
    works().await;
    let dropped = async || server.metrics().await.sum("cti_trace_spans_dropped_total", &["export_failed"]);
    eventually("dropped spans", async || (dropped().await > 0.0).then_some(())).await;
    assert!(collector.requests() >= 3, "it was tried again");
    works().await;

    collector.answer(Answering::Never);
    let before = collector.requests();
    eventually("a request that hangs", async || (collector.requests() > before).then_some(())).await;
    works().await;

    collector.answer(Answering::Yes);
    works().await;
    let name = "unit of work";
    collector.span("a span again", |span| span.name == name).await;
    let lines = |text: &str| server.process.log().lines().filter(|line| line.contains(text)).count();
    let again = "traces are exported again";
    eventually("the end of the outage in the log", async || (lines(again) > 0).then_some(())).await;
    assert_eq!((lines("traces can't be exported"), lines(again)), (1, 1), "{}", server.process.log());

    drop(collector);
    works().await;
    drop(session);
    server.process.stop(STOP_WITHIN).await;
}

async fn the_last_spans_are_sent_before_the_server_ends(world: World) {
    let collector = Collector::start(Answering::Yes).await;
    let mut server = traced(world, &collector).start().await;
    let app = server.create_app("CRM").await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    server.process.stop(STOP_WITHIN).await;
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for span in collector.spans() {
        *names.entry(span.name).or_default() += 1;
    }
    for name in ["POST /webhooks/{app_id}", "unit of work", "apply", "commit"] {
        assert_eq!(names.get(name), Some(&1), "{names:?}");
    }
}

async fn without_an_endpoint_nothing_is_traced(world: World) {
    let server = world.start().await;
    let app = server.create_app("CRM").await;
    let mut session = server.listen(&app).await;
    server.webhook(&app, &Call::new(1).ring(0)).await;
    session.next_event().await;
    let metrics = server.metrics().await;
    for name in ["cti_trace_spans_exported_total", "cti_trace_spans_dropped_total"] {
        assert!(metrics.text().contains(name), "{name} is there from the start");
        assert_eq!(metrics.sum(name, &[]), 0.0);
    }
}
