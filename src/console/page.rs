//! The frame of every page: head, navigation, headers of the answer.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use maud::{DOCTYPE, Markup, html};
use strum::{IntoStaticStr, VariantArray};

use super::{access::CSRF_FIELD, assets};
use crate::http::error::ApiError;

/// Nothing from other hosts, and nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// An entry of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub(super) enum Section {
    Apps,
    Journal,
    Calls,
    Live,
    System,
}

impl Section {
    fn name(self) -> &'static str {
        self.into()
    }

    fn address(self) -> &'static str {
        match self {
            Self::Apps => "/console",
            Self::Journal => "/console/journal",
            Self::Calls => "/console/calls",
            Self::Live => "/console/live",
            Self::System => "/console/system",
        }
    }
}

/// Returns a page of a person who is signed in.
pub(super) fn signed_in(csrf: &str, section: Section, title: &str, content: &Markup) -> HttpResponse {
    let header = html! {
        header.bar {
            p.brand { a href="/console" { "cti-server" } }
            nav aria-label="Console" {
                ul {
                    @for entry in Section::VARIANTS {
                        li {
                            a href=(entry.address()) aria-current=[(*entry == section).then_some("page")] {
                                (entry.name())
                            }
                        }
                    }
                }
            }
            form method="post" action="/console/sign-out" {
                (hidden(CSRF_FIELD, csrf))
                button.quiet { "Sign out" }
            }
        }
    };
    answer(StatusCode::OK, title, &header, content)
}

/// Returns a page without navigation.
pub(super) fn bare(status: StatusCode, title: &str, content: &Markup) -> HttpResponse {
    answer(status, title, &html! {}, content)
}

/// Returns the page of an error.
pub(super) fn failed(error: &ApiError) -> HttpResponse {
    let status = error.code.status();
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        status if status.is_client_error() => "The request is not valid",
        _ => "Something failed",
    };
    let content = html! {
        h1 { (title) }
        p role="alert" { (error.message) "." }
        p { code { (error.code.as_str()) } }
        p { a href="/console" { "Back to the console" } }
    };
    let mut page = bare(status, title, &content);
    if let Some(seconds) = error.retry_after {
        page.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    page
}

/// Returns a redirect.
pub(super) fn redirect(status: StatusCode, location: &str) -> HttpResponse {
    let mut answer = HttpResponse::build(status);
    secured(&mut answer).insert_header((header::LOCATION, location)).finish()
}

/// Returns the redirect after a form: the browser opens the page anew.
pub(super) fn see_other(location: &str) -> HttpResponse {
    redirect(StatusCode::SEE_OTHER, location)
}

/// Returns a part of a page, for one that updates itself.
pub(super) fn fragment(content: Markup) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    secured(&mut answer).content_type("text/html; charset=utf-8").body(content.into_string())
}

/// Returns a hidden field of a form.
pub(super) fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

fn answer(status: StatusCode, title: &str, header: &Markup, content: &Markup) -> HttpResponse {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " – cti-server" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(assets::style_address());
                script src=(assets::script_address()) defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                (header)
                main #content tabindex="-1" { (content) }
            }
        }
    };
    let mut answer = HttpResponse::build(status);
    secured(&mut answer).content_type("text/html; charset=utf-8").body(page.into_string())
}

/// The referrer policy keeps the `Origin` of forms, which is null without referrers.
fn secured(answer: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
}
