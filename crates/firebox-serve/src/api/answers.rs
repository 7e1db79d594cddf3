//! The answers as the OpenAPI document has them. Nothing is made of these types; tests hold real answers
//! against their schemas.

#![expect(dead_code, reason = "they describe, and are never made")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

use crate::schema::only_null;

/// A whole answer to a conversation.
#[derive(ToSchema)]
pub(crate) struct ChatCompletion {
    id: String,
    object: ChatObject,
    /// When it was begun, in Unix seconds.
    created: u64,
    model: String,
    choices: Vec<ChatChoice>,
    usage: Usage,
}

#[derive(ToSchema)]
enum ChatObject {
    #[schema(rename = "chat.completion")]
    Whole,
}

#[derive(ToSchema)]
struct ChatChoice {
    index: u32,
    message: ChatMessage,
    /// Where they were asked for.
    #[schema(required)]
    logprobs: Option<ChatLogprobs>,
    finish_reason: FinishReason,
}

#[derive(ToSchema)]
struct ChatMessage {
    role: AssistantRole,
    /// The text; null where it is calls of functions.
    #[schema(required)]
    content: Option<String>,
    #[schema(schema_with = only_null, required)]
    refusal: Option<()>,
    #[schema(nullable = false)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(ToSchema)]
enum AssistantRole {
    #[schema(rename = "assistant")]
    Assistant,
}

/// A call of a function.
#[derive(ToSchema)]
struct ToolCall {
    id: String,
    r#type: crate::tools::Kind,
    function: ToolCallFunction,
}

#[derive(ToSchema)]
struct ToolCallFunction {
    name: String,
    /// JSON as a text.
    arguments: String,
}

#[derive(ToSchema)]
struct ChatLogprobs {
    content: Vec<ChatTokenLogprob>,
    #[schema(schema_with = only_null, required)]
    refusal: Option<()>,
}

/// A token, how probable it was, and the likeliest in its place.
#[derive(ToSchema)]
struct ChatTokenLogprob {
    token: String,
    /// The logarithm of its probability; -9999 for none.
    logprob: f64,
    bytes: Vec<u8>,
    top_logprobs: Vec<TopLogprob>,
}

#[derive(ToSchema)]
struct TopLogprob {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
}

/// Why an answer ended: by itself or at a stop text, at the limit, or as calls of functions.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum FinishReason {
    Stop,
    Length,
    ToolCalls,
}

/// Numbers of tokens. A prompt with several answers counts once.
#[derive(ToSchema)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokensDetails,
}

#[derive(ToSchema)]
struct PromptTokensDetails {
    /// Tokens that the prefix cache had.
    cached_tokens: u64,
}

/// The data of an event of a streamed conversation.
#[derive(ToSchema)]
pub(crate) struct ChatCompletionChunk {
    id: String,
    object: ChatChunkObject,
    created: u64,
    model: String,
    /// One choice; none in the last chunk, which has `usage`.
    choices: Vec<ChatChunkChoice>,
    /// Only with `stream_options.include_usage`; null before the last chunk.
    usage: Option<Usage>,
}

#[derive(ToSchema)]
enum ChatChunkObject {
    #[schema(rename = "chat.completion.chunk")]
    Chunk,
}

#[derive(ToSchema)]
struct ChatChunkChoice {
    index: u32,
    delta: ChatDelta,
    #[schema(required)]
    logprobs: Option<ChatLogprobs>,
    #[schema(required)]
    finish_reason: Option<FinishReason>,
}

/// What a chunk adds to the message.
#[derive(ToSchema)]
struct ChatDelta {
    #[schema(nullable = false)]
    role: Option<AssistantRole>,
    #[schema(nullable = false)]
    content: Option<String>,
    #[schema(nullable = false)]
    tool_calls: Option<Vec<ToolCallDelta>>,
}

/// A call that begins, or a piece of its arguments.
#[derive(ToSchema)]
struct ToolCallDelta {
    /// Its place among the calls of the answer.
    index: u32,
    /// Where it begins, as `type` and the function's name.
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(nullable = false)]
    r#type: Option<crate::tools::Kind>,
    function: ToolCallFunctionDelta,
}

#[derive(ToSchema)]
struct ToolCallFunctionDelta {
    #[schema(nullable = false)]
    name: Option<String>,
    /// The next piece of the JSON.
    arguments: String,
}

/// An event of a streamed answer.
#[derive(ToSchema)]
pub(crate) struct ChatEvent {
    /// JSON of a `ChatCompletionChunk`; of an `ErrorBody` where it fails midway; `[DONE]` at the end.
    data: String,
}

/// The continuations of prompts.
#[derive(ToSchema)]
pub(crate) struct Completion {
    id: String,
    object: CompletionObject,
    created: u64,
    model: String,
    choices: Vec<CompletionChoice>,
    usage: Usage,
}

#[derive(ToSchema)]
enum CompletionObject {
    #[schema(rename = "text_completion")]
    Whole,
}

#[derive(ToSchema)]
struct CompletionChoice {
    index: u32,
    text: String,
    #[schema(required)]
    logprobs: Option<CompletionLogprobs>,
    finish_reason: FinishReason,
}

/// Four lists that go together, an item for each token.
#[derive(ToSchema)]
struct CompletionLogprobs {
    tokens: Vec<String>,
    /// Null for the first token of an echoed prompt.
    token_logprobs: Vec<Option<f64>>,
    top_logprobs: Vec<Option<BTreeMap<String, f64>>>,
    /// Where the token begins in the text, in characters.
    text_offset: Vec<u64>,
}

/// The data of an event of a streamed completion.
#[derive(ToSchema)]
pub(crate) struct CompletionChunk {
    id: String,
    object: CompletionObject,
    created: u64,
    model: String,
    choices: Vec<CompletionChunkChoice>,
    /// Only with `stream_options.include_usage`; null before the last chunk.
    usage: Option<Usage>,
}

#[derive(ToSchema)]
struct CompletionChunkChoice {
    index: u32,
    text: String,
    #[schema(required)]
    logprobs: Option<CompletionLogprobs>,
    #[schema(required)]
    finish_reason: Option<FinishReason>,
}

/// An event of a streamed answer.
#[derive(ToSchema)]
pub(crate) struct CompletionEvent {
    /// JSON of a `CompletionChunk`; of an `ErrorBody` where it fails midway; `[DONE]` at the end.
    data: String,
}

/// The continuation of a text.
#[derive(ToSchema)]
pub(crate) struct Generated {
    text: String,
    prompt_tokens: u64,
    completion_tokens: u64,
    finish_reason: FinishReason,
}

/// An event of a streamed continuation.
#[derive(ToSchema)]
pub(crate) struct GeneratedEvent {
    /// JSON of a piece of the text as `{"text": …}`, then of a `Generated` without text; of an `ErrorBody`
    /// where it fails midway; `[DONE]` at the end.
    data: String,
}

/// Token ids.
#[derive(ToSchema)]
pub(crate) struct Tokenized {
    count: u64,
    /// The model's context, in tokens.
    max_model_len: u64,
    tokens: Vec<u32>,
}

/// The text of token ids.
#[derive(ToSchema)]
pub(crate) struct Detokenized {
    prompt: String,
}

/// What the server serves.
#[derive(ToSchema)]
pub(crate) struct ModelList {
    object: ListObject,
    data: Vec<Model>,
}

#[derive(ToSchema)]
enum ListObject {
    #[schema(rename = "list")]
    List,
}

/// A model.
#[derive(ToSchema)]
pub(crate) struct Model {
    /// Its name, as `model` of a request.
    id: String,
    object: ModelObject,
    /// When it was put up, in Unix seconds.
    created: u64,
    owned_by: String,
    /// Its context, in tokens.
    max_model_len: u64,
    /// `embed` where it makes vectors and no text.
    #[schema(nullable = false)]
    task: Option<String>,
    /// Of an adapter: the model that it is beside.
    #[schema(nullable = false)]
    parent: Option<String>,
}

/// The adapters of the server's folder.
#[derive(ToSchema)]
pub(crate) struct AdapterList {
    object: ListObject,
    /// Those that are loaded.
    data: Vec<Adapter>,
    /// The names that can be loaded.
    known: Vec<String>,
    /// How many may be loaded.
    max: u64,
}

/// An adapter that is loaded.
#[derive(ToSchema)]
pub(crate) struct Adapter {
    /// Its name, as `model` of a request.
    id: String,
    object: AdapterObject,
    /// When it was loaded, in Unix seconds.
    created: u64,
    rank: u64,
    /// Of its factors in memory.
    bytes: u64,
    /// Requests under way that began with it.
    requests: u64,
}

#[derive(ToSchema)]
enum AdapterObject {
    #[schema(rename = "adapter")]
    Adapter,
}

#[derive(ToSchema)]
pub(crate) struct UnloadedAdapter {
    id: String,
    object: AdapterObject,
    deleted: bool,
}

/// The vectors of texts.
#[derive(ToSchema)]
pub(crate) struct EmbeddingList {
    object: ListObject,
    /// One for each input, in order.
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsage,
}

#[derive(ToSchema)]
struct Embedding {
    object: EmbeddingObject,
    /// Of the input.
    index: u32,
    embedding: EmbeddingVector,
}

#[derive(ToSchema)]
enum EmbeddingObject {
    #[schema(rename = "embedding")]
    Embedding,
}

/// The numbers, or in base64 their bytes as little-endian 32-bit floats.
#[derive(serde::Serialize, ToSchema)]
#[serde(untagged)]
enum EmbeddingVector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(ToSchema)]
struct EmbeddingUsage {
    prompt_tokens: u64,
    total_tokens: u64,
}

#[derive(ToSchema)]
enum ModelObject {
    #[schema(rename = "model")]
    Model,
}

/// How the server is.
#[derive(ToSchema)]
pub(crate) struct Status {
    status: String,
}

/// Every refusal and failure.
#[derive(ToSchema)]
pub(crate) struct ErrorBody {
    error: Failure,
}

/// What is wrong, for people and for programs.
#[derive(ToSchema)]
struct Failure {
    /// What was expected, what was found, what to do.
    message: String,
    r#type: FailureType,
    /// The field at fault.
    #[schema(required)]
    param: Option<String>,
    /// A name for programs to match on.
    #[schema(required)]
    code: Option<String>,
}

#[derive(ToSchema)]
enum FailureType {
    #[schema(rename = "invalid_request_error")]
    InvalidRequest,
    #[schema(rename = "authentication_error")]
    Authentication,
    #[schema(rename = "permission_error")]
    Permission,
    #[schema(rename = "rate_limit_error")]
    RateLimit,
    #[schema(rename = "server_error")]
    Server,
}
