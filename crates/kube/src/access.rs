//! Where the API server is and who we are: flags first, then the pod we run in, then the user's files.

use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Where a pod finds its service account (Kubernetes docs, "Accessing the API from within a Pod").
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How to reach a Kubernetes API server; the flags that every role shares.
///
/// Order: `--kubeconfig`; then the service account, when this is a pod; then
/// `$KUBECONFIG`; then `~/.kube/config`. A pod's own identity comes before the
/// two files because a daemon must not borrow a person's by accident.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Kubernetes API")]
pub struct Access {
    /// Kubeconfig file with the server's address and our credentials.
    ///
    /// Default: in a pod its service account, else $KUBECONFIG, else ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig to use [default: its current one].
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Address of the API server, instead of the one that the kubeconfig or the pod's environment names.
    ///
    /// Lets a node's network start before the ClusterIP of the API server works.
    #[arg(long, value_name = "URL")]
    pub api_server: Option<String>,
}

/// Why there is no usable access to an API server. Every message says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No flag, no service account, no file.
    #[error(
        "find a Kubernetes API server: this is not a pod (no {SERVICE_ACCOUNT_TOKEN}), \
         $KUBECONFIG is not set and ~/.kube/config does not exist; \
         give --kubeconfig FILE (`sealane kubeconfig` prints the one of this machine's cluster)"
    )]
    Nothing,

    /// A kubeconfig that cannot be opened.
    #[error("read kubeconfig {path}: {source}; check the path and that this user may read it")]
    Read {
        /// The file that was asked for or found.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },

    /// A kubeconfig that was read and makes no sense, or names files that do not.
    #[error("use kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file that was read.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<KubeconfigError>,
    },

    /// A context that the kubeconfig does not have.
    #[error("use context {context} of kubeconfig {path}: it has no such context, only {known}")]
    Context {
        /// The file that was read.
        path: PathBuf,
        /// The context that was asked for.
        context: String,
        /// The contexts that exist, for people.
        known: String,
    },

    /// In a pod whose service account cannot be used.
    #[error(
        "use this pod's service account: {0}; \
         check automountServiceAccountToken, or give --kubeconfig FILE"
    )]
    InCluster(#[from] Box<kube::config::InClusterError>),

    /// `--api-server` is not a URL.
    #[error("use API server {url:?}: {reason}; expected a URL such as https://10.0.0.1:6443")]
    ApiServer {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },

    /// Keys, certificates or credentials from which no connection can be made.
    #[error("prepare connections to {server}: {source}; check certificates and keys in {origin}")]
    Connect {
        /// The server's address.
        server: String,
        /// Where the credentials come from.
        origin: String,
        /// What is wrong with them.
        source: Box<kube::Error>,
    },
}

/// A place to take credentials from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Pod,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "kubeconfig {}", path.display()),
            Self::Pod => write!(f, "the pod's service account"),
        }
    }
}

impl Access {
    /// Access through this kubeconfig alone.
    pub fn from_kubeconfig(path: impl Into<PathBuf>) -> Self {
        Self {
            kubeconfig: Some(path.into()),
            ..Self::default()
        }
    }

    /// The API server's URL. Sends nothing.
    ///
    /// # Errors
    /// When no server is known.
    pub async fn server(&self) -> Result<String, AccessError> {
        let (config, _) = self.resolve().await?;
        Ok(config.cluster_url.to_string())
    }

    /// Reads files and environment; sends nothing.
    pub(crate) async fn resolve(&self) -> Result<(Config, Origin), AccessError> {
        let surroundings = Surroundings::of_this_process();
        let origin = choose(self.kubeconfig.as_deref(), &surroundings)?;
        let mut config = match &origin {
            Origin::File(path) => from_file(path, self.context.as_deref()).await?,
            Origin::Pod if self.api_server.is_some() => {
                Config::incluster_dns().map_err(Box::new)?
            }
            Origin::Pod => Config::incluster_env().map_err(Box::new)?,
        };
        if let Some(url) = &self.api_server {
            config.cluster_url = parse_server(url)?;
        }
        Ok((config, origin))
    }
}

/// What the choice of credentials depends on, gathered so that the choice itself is testable.
struct Surroundings {
    service_account: bool,
    kubeconfig_variable: Option<PathBuf>,
    home_kubeconfig: Option<PathBuf>,
}

impl Surroundings {
    fn of_this_process() -> Self {
        // Not `std::env::home_dir`: without $HOME it asks the user database, and in a
        // static binary glibc then loads modules of this machine that may not fit it.
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
        let variable = std::env::var_os("KUBECONFIG").and_then(|list| {
            std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
        });
        Self {
            service_account: Path::new(SERVICE_ACCOUNT_TOKEN).exists(),
            kubeconfig_variable: variable,
            home_kubeconfig: home.filter(|path| path.exists()),
        }
    }
}

fn choose(flag: Option<&Path>, around: &Surroundings) -> Result<Origin, AccessError> {
    if let Some(path) = flag {
        return Ok(Origin::File(path.to_owned()));
    }
    if around.service_account {
        return Ok(Origin::Pod);
    }
    around
        .kubeconfig_variable
        .clone()
        .or_else(|| around.home_kubeconfig.clone())
        .map(Origin::File)
        .ok_or(AccessError::Nothing)
}

async fn from_file(path: &Path, context: Option<&str>) -> Result<Config, AccessError> {
    let broken = |source| AccessError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    // Opened first for its own sake: the error of the reader below hides the system's.
    std::fs::File::open(path).map_err(|source| AccessError::Read {
        path: path.to_owned(),
        source,
    })?;
    let file = Kubeconfig::read_from(path).map_err(broken)?;
    if let Some(context) = context.filter(|name| file.contexts.iter().all(|c| c.name != *name)) {
        return Err(AccessError::Context {
            path: path.to_owned(),
            context: context.to_owned(),
            known: context_names(&file),
        });
    }
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(broken)
}

fn context_names(file: &Kubeconfig) -> String {
    let names: Vec<_> = file.contexts.iter().map(|c| c.name.as_str()).collect();
    if names.is_empty() {
        "none at all".to_owned()
    } else {
        names.join(", ")
    }
}

fn parse_server(url: &str) -> Result<http::Uri, AccessError> {
    let wrong = |reason: &str| AccessError::ApiServer {
        url: url.to_owned(),
        reason: reason.to_owned(),
    };
    let uri: http::Uri = url
        .parse()
        .map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("https" | "http"), Some(_)) => Ok(uri),
        _ => Err(wrong("it has no scheme or no host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(pod: bool, variable: Option<&str>, home: Option<&str>) -> Surroundings {
        Surroundings {
            service_account: pod,
            kubeconfig_variable: variable.map(PathBuf::from),
            home_kubeconfig: home.map(PathBuf::from),
        }
    }

    #[test]
    fn the_flag_wins_then_the_pod_then_the_users_files() {
        let file = |path: &str| Origin::File(PathBuf::from(path));
        let cases = [
            (
                Some("/flag"),
                around(true, Some("/env"), Some("/home")),
                file("/flag"),
            ),
            (None, around(true, Some("/env"), Some("/home")), Origin::Pod),
            (
                None,
                around(false, Some("/env"), Some("/home")),
                file("/env"),
            ),
            (None, around(false, None, Some("/home")), file("/home")),
        ];
        for (flag, around, expected) in cases {
            assert_eq!(choose(flag.map(Path::new), &around).unwrap(), expected);
        }
    }

    #[test]
    fn nothing_at_all_says_what_was_looked_for() {
        let error = choose(None, &around(false, None, None)).unwrap_err();
        let text = error.to_string();
        for part in ["KUBECONFIG", "~/.kube/config", "--kubeconfig FILE"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_and_a_missing_context_are_named() {
        let missing = Access::from_kubeconfig("/nowhere/kubeconfig");
        let text = missing.resolve().await.unwrap_err().to_string();
        assert!(
            text.starts_with("read kubeconfig /nowhere/kubeconfig: No such file"),
            "{text}"
        );

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let access = Access {
            context: Some("prod".into()),
            ..Access::from_kubeconfig(&path)
        };
        let text = access.resolve().await.unwrap_err().to_string();
        assert!(text.starts_with("use context prod of kubeconfig"), "{text}");
        assert!(text.ends_with("only lab, spare"), "{text}");
    }

    #[tokio::test]
    async fn contexts_and_the_servers_address_can_be_overridden() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let server = async |context: Option<&str>, api_server: Option<&str>| {
            let access = Access {
                kubeconfig: Some(path.clone()),
                context: context.map(str::to_owned),
                api_server: api_server.map(str::to_owned),
            };
            let (config, origin) = access.resolve().await?;
            assert_eq!(origin, Origin::File(path.clone()));
            Ok::<_, AccessError>(config.cluster_url.to_string())
        };
        assert_eq!(server(None, None).await.unwrap(), "https://10.0.0.1:6443/");
        assert_eq!(
            server(Some("spare"), None).await.unwrap(),
            "https://10.0.0.2:6443/"
        );
        assert_eq!(
            server(None, Some("https://192.0.2.1:6443")).await.unwrap(),
            "https://192.0.2.1:6443/"
        );
        let text = server(None, Some("10.0.0.1:6443/"))
            .await
            .unwrap_err()
            .to_string();
        assert!(text.contains("expected a URL such as"), "{text}");
    }

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters:
- {name: lab, cluster: {server: 'https://10.0.0.1:6443'}}
- {name: spare, cluster: {server: 'https://10.0.0.2:6443'}}
contexts:
- {name: lab, context: {cluster: lab, user: me}}
- {name: spare, context: {cluster: spare, user: me}}
current-context: lab
users:
- {name: me, user: {}}
";
}
