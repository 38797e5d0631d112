//! One way to ask the server, in so few words that a whole group of them can be read at a glance. What follows from who
//! may ask is added here: how they say who they are, and the errors of those who may not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use utoipa::openapi::{
    Content, HttpMethod, RefOr, Required, Schema, SecurityRequirement,
    content::ContentBuilder,
    header::HeaderBuilder,
    path::{Operation, OperationBuilder, Parameter},
    request_body::RequestBodyBuilder,
    response::{Response, ResponseBuilder},
    schema::{Object, ObjectBuilder, Type},
};

use super::errors;
use crate::http::error::ErrorCode::{self, *};

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody.
    Anyone,
    /// An app, by the key in a header.
    Crm,
    /// The same, or by the key in the query.
    CrmByQuery,
    /// Administrators, by their bearer.
    Administrator,
    /// The same, or by the key in the first message.
    Socket,
    /// Whoever collects metrics, by a bearer where one is configured.
    Monitor,
    /// Dialpad, by its signature.
    Dialpad,
}

/// The names of the security schemes, and what they are described as, are in [`super::security`].
impl Access {
    /// One of these is needed; an empty one stands for nothing that a scheme can express.
    fn schemes(self) -> &'static [&'static str] {
        match self {
            Self::Anyone => &[],
            Self::Crm => &["api_key", "app_api_key", "api_key_as_bearer"],
            Self::CrmByQuery => &["api_key", "app_api_key", "api_key_as_bearer", "api_key_in_query"],
            Self::Socket => &["api_key", "app_api_key", "api_key_as_bearer", "api_key_in_query", ""],
            Self::Administrator => &["internal_secret"],
            Self::Monitor => &["metrics_token", ""],
            Self::Dialpad => &["webhook_signature", ""],
        }
    }

    fn refuses(self) -> &'static [ErrorCode] {
        match self {
            Self::Anyone => &[],
            Self::Crm | Self::CrmByQuery => {
                &[MissingApiKey, InvalidApiKey, AppInactive, RateLimited, DatabaseUnavailable, Internal]
            }
            Self::Socket => &[InvalidApiKey, AppInactive, RateLimited, DatabaseUnavailable, Internal],
            Self::Administrator => &[MissingBearer, Forbidden, RateLimited, DatabaseUnavailable, Internal],
            Self::Monitor => &[MissingBearer, Forbidden, RateLimited],
            Self::Dialpad => &[InvalidSignature, DatabaseUnavailable, Internal],
        }
    }
}

/// Ways that belong together.
#[derive(Clone, Copy)]
pub(crate) struct Group {
    pub(crate) tag: &'static str,
    pub(crate) access: Access,
}

impl Group {
    pub(crate) fn get(self, path: &str, id: &str, summary: &str) -> Way {
        self.way(HttpMethod::Get, path, id, summary)
    }

    pub(crate) fn post(self, path: &str, id: &str, summary: &str) -> Way {
        self.way(HttpMethod::Post, path, id, summary)
    }

    pub(crate) fn patch(self, path: &str, id: &str, summary: &str) -> Way {
        self.way(HttpMethod::Patch, path, id, summary)
    }

    pub(crate) fn delete(self, path: &str, id: &str, summary: &str) -> Way {
        self.way(HttpMethod::Delete, path, id, summary)
    }

    fn way(self, method: HttpMethod, path: &str, id: &str, summary: &str) -> Way {
        let operation = OperationBuilder::new().tag(self.tag).operation_id(Some(id)).summary(Some(summary));
        Way {
            method,
            path: path.to_owned(),
            access: self.access,
            operation: operation.build(),
            answers: BTreeMap::new(),
            errors: self.access.refuses().iter().copied().collect(),
        }
    }
}

/// One way to ask.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) method: HttpMethod,
    pub(crate) path: String,
    access: Access,
    operation: Operation,
    answers: BTreeMap<u16, Response>,
    errors: BTreeSet<ErrorCode>,
}

impl Way {
    /// More than its summary says.
    pub(crate) fn says(mut self, description: &str) -> Self {
        self.operation.description = Some(description.to_owned());
        self
    }

    /// Parameters.
    pub(crate) fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.operation.parameters.get_or_insert_default().extend(parameters);
        self.refuses([InvalidRequest])
    }

    /// A parameter that is never refused as such.
    pub(crate) fn with_parameter(mut self, parameter: Parameter) -> Self {
        self.operation.parameters.get_or_insert_default().push(parameter);
        self
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        self.operation.operation_id.as_deref().unwrap_or_default()
    }

    /// A body. `example`: of a good one.
    pub(crate) fn reads(self, required: Required, schema: impl Into<RefOr<Schema>>, example: Value) -> Self {
        let json = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        self.reads_one_of(required, [("application/json", json)]).refuses([PayloadTooLarge])
    }

    /// A body in one of several forms.
    pub(crate) fn reads_one_of<const FORMS: usize>(
        mut self,
        required: Required,
        forms: [(&str, Content); FORMS],
    ) -> Self {
        let body = RequestBodyBuilder::new().required(Some(required));
        let body = forms.into_iter().fold(body, |body, (media, content)| body.content(media, content));
        self.operation.request_body = Some(body.build());
        self
    }

    /// A good answer without a body.
    pub(crate) fn answers(mut self, status: u16, description: &str) -> Self {
        self.answers.insert(status, Response::new(description));
        self
    }

    /// A good answer in JSON.
    pub(crate) fn shows(
        self,
        status: u16,
        description: &str,
        schema: impl Into<RefOr<Schema>>,
        example: Value,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
        self.streams(status, description, "application/json", content)
    }

    /// A good answer in some form.
    pub(crate) fn streams(mut self, status: u16, description: &str, media: &str, content: Content) -> Self {
        let answer = self.answers.entry(status).or_insert_with(|| Response::new(description));
        answer.content.insert(media.to_owned(), content);
        self
    }

    /// A header of a good answer.
    pub(crate) fn with_header(mut self, status: u16, name: &str, description: &str) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer.headers.insert(name.to_owned(), text_header(description));
        }
        self
    }

    /// A list that comes page by page.
    pub(crate) fn paged(self) -> Self {
        self.with_header(
            200,
            "Link",
            "`<…>; rel=\"next\"`: the next page, relative to the server; none on the last.",
        )
    }

    /// Errors that it may answer with, beyond those of its access.
    pub(crate) fn refuses(mut self, codes: impl IntoIterator<Item = ErrorCode>) -> Self {
        self.errors.extend(codes);
        self
    }

    /// The same at another address, under an older name.
    pub(crate) fn also_at(&self, path: &str, id: &str) -> Self {
        let mut other = self.clone();
        let summary = other.operation.summary.take().unwrap_or_default();
        other.operation.summary = Some(format!("{summary} (older name)"));
        other.operation.description = Some(format!("The same as `{}`.", self.path));
        other.operation.operation_id = Some(id.to_owned());
        path.clone_into(&mut other.path);
        other
    }

    /// The same without the body.
    pub(crate) fn as_head(&self, id: &str) -> Self {
        let mut head = self.clone();
        head.method = HttpMethod::Head;
        head.operation.operation_id = Some(id.to_owned());
        head.operation.description = Some("What `GET` answers, without the body.".to_owned());
        head.answers.values_mut().for_each(|answer| answer.content.clear());
        head
    }

    /// As the document has it.
    pub(crate) fn operation(self) -> Operation {
        let mut operation = self.operation;
        let required = self.access.schemes().iter().map(|scheme| match *scheme {
            "" => SecurityRequirement::default(),
            name => SecurityRequirement::new(name, Vec::<String>::new()),
        });
        operation.security = Some(required.collect());
        let mut errors = self.errors;
        // What only asks is sent to https instead.
        if !matches!(self.method, HttpMethod::Get | HttpMethod::Head) {
            errors.insert(HttpsRequired);
        }
        let answers = self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer));
        operation.responses.responses.extend(answers.map(|(status, answer)| (status, RefOr::T(answer))));
        let has_body = self.method != HttpMethod::Head;
        for (status, response) in errors::responses(&errors, has_body) {
            operation.responses.responses.entry(status).or_insert(RefOr::T(response));
        }
        operation
    }
}

/// A header that is a text.
pub(crate) fn text_header(description: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new().schema(text()).description(Some(description)).build()
}

/// Any text.
pub(crate) fn text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

/// A response that only has words.
pub(crate) fn response(description: impl Into<String>) -> ResponseBuilder {
    ResponseBuilder::new().description(description)
}
