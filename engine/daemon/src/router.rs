//! Which endpoint is whose: the table of all routes, by the names that the API's
//! specification gives them, and what every traced request goes through.

use glassdock_trace::{Body, Outcome};
use http::Method;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::reply::{Reply, Response};
use crate::route::{Route, matches};
use crate::{absent, build, containers, events, images, networks, operations, system, volumes};

/// `METHOD "/path" OperationName handler,` – a line an endpoint.
macro_rules! routes {
    ($($verb:ident $pattern:literal $operation:ident $handler:expr,)*) => {
        &[$(Route {
            method: crate::route::Verb::$verb,
            pattern: $pattern,
            operation: stringify!($operation),
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// All endpoints. Where two patterns match, the first one does.
#[rustfmt::skip]
pub const ROUTES: &[Route] = routes! {
    // ---- beside Docker's: traces and the step gate ----
    GET    "/glassdock/traces"                    GlassdockTraceList      operations::endpoints::list,
    GET    "/glassdock/traces/{op}"               GlassdockTraceShow      operations::endpoints::show,
    POST   "/glassdock/operations/{op}"           GlassdockOperationOpen  operations::endpoints::open,
    POST   "/glassdock/operations/{op}/end"       GlassdockOperationEnd   operations::endpoints::end,
    GET    "/glassdock/operations/{op}/held"      GlassdockOperationHeld  operations::endpoints::held,
    POST   "/glassdock/operations/{op}/answer"    GlassdockOperationAnswer operations::endpoints::answer,
    POST   "/glassdock/builds"                    GlassdockBuildOpen      build::session::open,
    POST   "/glassdock/builds/{id}/agents/{name}" GlassdockBuildAgent     build::session::agent,

    // ---- system ----
    GET    "/_ping"                               SystemPing              system::ping,
    HEAD   "/_ping"                               SystemPingHead          system::ping,
    GET    "/version"                             SystemVersion           system::version,
    GET    "/info"                                SystemInfo              system::info,
    GET    "/system/df"                           SystemDataUsage         system::usage::usage,
    POST   "/auth"                                SystemAuth              system::auth::check,
    GET    "/events"                              SystemEvents            events::stream,

    // ---- containers ----
    GET    "/containers/json"                     ContainerList           containers::list::list,
    POST   "/containers/create"                   ContainerCreate         containers::create::create,
    POST   "/containers/prune"                    ContainerPrune          containers::remove::prune,
    GET    "/containers/{id}/json"                ContainerInspect        containers::inspect::inspect,
    GET    "/containers/{id}/top"                 ContainerTop            containers::top::top,
    GET    "/containers/{id}/logs"                ContainerLogs           containers::logs::logs,
    GET    "/containers/{id}/stats"               ContainerStats          containers::stats::stats,
    GET    "/containers/{id}/changes"             ContainerChanges        containers::export::changes,
    GET    "/containers/{id}/export"              ContainerExport         containers::export::export,
    HEAD   "/containers/{id}/archive"             ContainerArchiveInfo    containers::archive::info,
    GET    "/containers/{id}/archive"             ContainerArchive        containers::archive::get,
    PUT    "/containers/{id}/archive"             PutContainerArchive     containers::archive::put,
    POST   "/containers/{id}/resize"              ContainerResize         containers::attach::resize,
    POST   "/containers/{id}/start"               ContainerStart          containers::start::start,
    POST   "/containers/{id}/stop"                ContainerStop           containers::signal::stop,
    POST   "/containers/{id}/restart"             ContainerRestart        containers::signal::restart,
    POST   "/containers/{id}/kill"                ContainerKill           containers::signal::kill,
    POST   "/containers/{id}/update"              ContainerUpdate         containers::change::update,
    POST   "/containers/{id}/rename"              ContainerRename         containers::change::rename,
    POST   "/containers/{id}/pause"               ContainerPause          containers::signal::pause,
    POST   "/containers/{id}/unpause"             ContainerUnpause        containers::signal::unpause,
    POST   "/containers/{id}/attach"              ContainerAttach         containers::attach::attach,
    GET    "/containers/{id}/attach/ws"           ContainerAttachWebsocket containers::websocket::attach,
    POST   "/containers/{id}/wait"                ContainerWait           containers::wait::wait,
    GET    "/containers/{id}/checkpoints"         CheckpointList          absent::no_checkpoints,
    POST   "/containers/{id}/checkpoints"         CheckpointCreate        absent::no_checkpoints,
    DELETE "/containers/{id}/checkpoints/{name}"  CheckpointDelete        absent::no_checkpoints,
    DELETE "/containers/{id..}"                     ContainerDelete         containers::remove::delete,
    POST   "/containers/{id}/exec"                ContainerExec           containers::exec::create,
    POST   "/exec/{id}/start"                     ExecStart               containers::exec::start,
    POST   "/exec/{id}/resize"                    ExecResize              containers::exec::resize,
    GET    "/exec/{id}/json"                      ExecInspect             containers::exec::inspect,

    // ---- networks ----
    GET    "/networks"                            NetworkList             networks::endpoints::list,
    GET    "/networks/"                           NetworkList             networks::endpoints::list,
    POST   "/networks/create"                     NetworkCreate           networks::endpoints::create,
    POST   "/networks/prune"                      NetworkPrune            networks::endpoints::prune,
    GET    "/networks/{id}"                       NetworkInspect          networks::endpoints::inspect,
    DELETE "/networks/{id}"                       NetworkDelete           networks::endpoints::delete,
    POST   "/networks/{id}/connect"               NetworkConnect          networks::endpoints::connected,
    POST   "/networks/{id}/disconnect"            NetworkDisconnect       networks::endpoints::disconnected,
    // ---- images ----
    POST   "/build"                               ImageBuild              build::build,
    POST   "/build/prune"                         BuildPrune              build::prune::prune,
    GET    "/images/json"                         ImageList               images::list::list,
    POST   "/images/create"                       ImageCreate             images::pull::create,
    POST   "/commit"                              ImageCommit             images::commit::commit,
    POST   "/images/prune"                        ImagePrune              images::change::prune,
    GET    "/images/search"                       ImageSearch             images::search::search,
    GET    "/images/get"                          ImageGetAll             images::save::save,
    POST   "/images/load"                         ImageLoad               images::load::load,
    GET    "/images/{name..}/get"                 ImageGet                images::save::save,
    GET    "/images/{name..}/json"                ImageInspect            images::inspect::inspect,
    GET    "/images/{name..}/history"             ImageHistory            images::inspect::history,
    POST   "/images/{name..}/push"                ImagePush               images::push::push,
    POST   "/images/{name..}/tag"                 ImageTag                images::change::tag,
    DELETE "/images/{name..}"                     ImageDelete             images::change::delete,
    GET    "/distribution/{name..}/json"          DistributionInspect     images::distribution::inspect,

    // ---- volumes ----
    GET    "/volumes"                             VolumeList              volumes::endpoints::list,
    POST   "/volumes/create"                      VolumeCreate            volumes::endpoints::create,
    POST   "/volumes/prune"                       VolumePrune             volumes::endpoints::prune,
    GET    "/volumes/{name}"                      VolumeInspect           volumes::endpoints::inspect,
    DELETE "/volumes/{name}"                      VolumeDelete            volumes::endpoints::delete,

    // ---- what this engine does not have ----
    PUT    "/volumes/{name}"                      VolumeUpdate            absent::no_cluster_volumes,
    POST   "/session"                             Session                 absent::no_session,
    GET    "/plugins"                             PluginList              absent::no_plugins,
    GET    "/plugins/privileges"                  GetPluginPrivileges     absent::no_plugin_there,
    POST   "/plugins/pull"                        PluginPull              absent::no_plugin_there,
    POST   "/plugins/create"                      PluginCreate            absent::no_plugin_to_make,
    GET    "/plugins/{name..}/json"               PluginInspect           absent::no_plugin,
    POST   "/plugins/{name..}/enable"             PluginEnable            absent::no_plugin,
    POST   "/plugins/{name..}/disable"            PluginDisable           absent::no_plugin,
    POST   "/plugins/{name..}/upgrade"            PluginUpgrade           absent::no_plugin_to_change,
    POST   "/plugins/{name..}/push"               PluginPush              absent::no_plugin,
    POST   "/plugins/{name..}/set"                PluginSet               absent::no_plugin_to_change,
    DELETE "/plugins/{name..}"                    PluginDelete            absent::no_plugin,
    GET    "/swarm"                               SwarmInspect            absent::no_manager,
    POST   "/swarm/init"                          SwarmInit               absent::no_swarm_to_init,
    POST   "/swarm/join"                          SwarmJoin               absent::no_swarm_to_join,
    POST   "/swarm/leave"                         SwarmLeave              absent::not_in_swarm,
    POST   "/swarm/update"                        SwarmUpdate             absent::no_manager_to_update,
    GET    "/swarm/unlockkey"                     SwarmUnlockkey          absent::no_manager,
    POST   "/swarm/unlock"                        SwarmUnlock             absent::no_manager_to_make,
    GET    "/nodes"                               NodeList                absent::no_manager_to_list,
    GET    "/nodes/{id}"                          NodeInspect             absent::no_manager,
    DELETE "/nodes/{id}"                          NodeDelete              absent::no_manager,
    POST   "/nodes/{id}/update"                   NodeUpdate              absent::no_manager_to_update,
    GET    "/services"                            ServiceList             absent::no_manager_to_list,
    POST   "/services/create"                     ServiceCreate           absent::no_manager_to_make,
    GET    "/services/{id}"                       ServiceInspect          absent::no_manager,
    DELETE "/services/{id}"                       ServiceDelete           absent::no_manager,
    POST   "/services/{id}/update"                ServiceUpdate           absent::no_manager_to_update,
    GET    "/services/{id}/logs"                  ServiceLogs             absent::no_manager_to_log,
    GET    "/tasks"                               TaskList                absent::no_manager_to_list,
    GET    "/tasks/{id}"                          TaskInspect             absent::no_manager,
    GET    "/tasks/{id}/logs"                     TaskLogs                absent::no_manager_to_log,
    GET    "/secrets"                             SecretList              absent::no_manager_to_list,
    POST   "/secrets/create"                      SecretCreate            absent::no_manager_to_make,
    GET    "/secrets/{id}"                        SecretInspect           absent::no_manager,
    DELETE "/secrets/{id}"                        SecretDelete            absent::no_manager,
    POST   "/secrets/{id}/update"                 SecretUpdate            absent::no_manager_to_update,
    GET    "/configs"                             ConfigList              absent::no_manager_to_list,
    POST   "/configs/create"                      ConfigCreate            absent::no_manager_to_make,
    GET    "/configs/{id}"                        ConfigInspect           absent::no_manager,
    DELETE "/configs/{id}"                        ConfigDelete            absent::no_manager,
    POST   "/configs/{id}/update"                 ConfigUpdate            absent::no_manager_to_update,
};

/// The endpoint that a request is for, with the named parts of its path.
#[must_use]
pub fn find(method: &Method, path: &str) -> Option<(&'static Route, Vec<(&'static str, String)>)> {
    ROUTES
        .iter()
        .filter(|route| route.method.is(method))
        .find_map(|route| matches(route.pattern, path).map(|params| (route, params)))
}

/// Whether requests of that endpoint are operations: those that only look at the
/// engine's own glass are not.
#[must_use]
pub fn is_traced(route: &Route) -> bool {
    !route.pattern.starts_with("/glassdock/") && route.pattern != "/_ping"
}

/// Puts a request into its operation, runs its handler, and records both.
///
/// The handler runs in a task of its own: a client that vanishes does not leave a
/// change half done, and a panic ends nothing but this request. Who wants to end with
/// the client asks [`Call::gone`].
///
/// # Errors
///
/// The handler's.
pub async fn traced(route: &'static Route, mut call: Call) -> Reply {
    // What is asked of a listing is in the query. Of other requests it is left out: a build's
    // arguments may be secrets, and a trace never has them.
    let asked = call.parts.uri.path_and_query().filter(|_| call.parts.method == http::Method::GET);
    let path = asked.map_or_else(|| call.parts.uri.path().to_owned(), ToString::to_string);
    let method = call.parts.method.as_str().to_owned();
    let part = call.engine.operations.of_request(&method, &path, &call.parts.headers)?;
    let span = part.trace().begin_async(Body::ApiRequest { method, path, status: None }).await?;
    call.trace = span.trace().clone();
    call.operation = Some(part.clone());
    // Dropped with this future, when the client leaves before it has an answer.
    let gone = CancellationToken::new();
    call.parts.extensions.insert(gone.clone());
    let leaving = gone.drop_guard();
    let ended = tokio::spawn((route.handler)(call)).await;
    leaving.disarm();
    let result = ended.unwrap_or_else(|error| Err(error.into()));
    let status = match &result {
        Ok(response) => response.status(),
        Err(error) => error.status(),
    };
    let mut span = span;
    if let Body::ApiRequest { status: field, .. } = span.body_mut() {
        *field = Some(status.as_u16());
    }
    let failed = result.as_ref().err().map(|error| error.message().to_owned());
    if failed.is_some() {
        part.set_status(1);
    }
    span.end(Outcome { ok: failed.is_none(), errno: None, message: failed });
    result.map(|response| keep_open(response, part))
}

/// Keeps the operation open until the reply is sent whole.
fn keep_open(response: Response, part: std::sync::Arc<operations::Use>) -> Response {
    response.map(|body| axum::body::Body::new(Kept { body, _part: part }))
}

struct Kept {
    body: axum::body::Body,
    _part: std::sync::Arc<operations::Use>,
}

impl http_body::Body for Kept {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
