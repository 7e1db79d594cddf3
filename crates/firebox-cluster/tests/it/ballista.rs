//! A Ballista cluster on this machine: a scheduler and two executors on loopback ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use firebox_cluster::{
    Engine, EngineConfig, ExecutorConfig, Stores, run_recipe, serve_executor, serve_scheduler,
};
use firebox_data::{DedupConfig, KeepRule};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::corpus;
use crate::local::{assert_counts, assert_documents, read_output, recipe, run_config};
use crate::one_machine;
use crate::ports::free_port;

/// The nodes of a cluster; they stop when it is dropped.
pub(crate) struct Cluster {
    pub(crate) scheduler: SocketAddr,
    _nodes: JoinSet<()>,
}

impl Cluster {
    /// Starts a scheduler and executors with two cores each.
    pub(crate) async fn start(n_executors: usize, work: &Path, stores: &Stores) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let scheduler = listener.local_addr().unwrap();
        let mut nodes = JoinSet::new();
        let of_scheduler = stores.clone();
        nodes.spawn(async move {
            serve_scheduler(listener, of_scheduler).await.unwrap();
        });
        for i in 0..n_executors {
            let work_folder = work.join(format!("executor-{i}"));
            std::fs::create_dir_all(&work_folder).unwrap();
            let config = ExecutorConfig {
                scheduler,
                address: (Ipv4Addr::LOCALHOST, free_port()).into(),
                control_port: free_port(),
                n_cores: 2,
                memory_limit_bytes: 256 << 20,
                work_folder,
                stores: stores.clone(),
            };
            nodes.spawn(async move {
                serve_executor(config).await.unwrap();
            });
        }
        Self {
            scheduler,
            _nodes: nodes,
        }
    }

    pub(crate) fn engine(&self, stores: &Stores) -> Engine {
        let config = EngineConfig {
            n_tasks: 4,
            stores: stores.clone(),
            ..EngineConfig::default()
        };
        Engine::remote(&self.scheduler.to_string(), config).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_executors_give_what_one_machine_gives() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    corpus::write(&input, 1, 9);
    let cluster = Cluster::start(2, folder.path(), &Stores::local()).await;
    let engine = cluster.engine(&Stores::local());
    for keep in [KeepRule::First, KeepRule::Longest] {
        let dedup = DedupConfig {
            keep,
            ..DedupConfig::default()
        };
        let expected = one_machine::run(&[&input], &recipe(), Some(&dedup), 5);
        let output = folder.path().join(format!("out-{keep:?}"));
        let mut run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
        run.dedup = Some(dedup);
        let report = run_recipe(&engine, &recipe(), &run).await.unwrap();
        assert_counts(&report, &expected);
        assert_documents(&read_output(&output), &expected.written);
    }
    // Both had a part in it: each has results of its own tasks in its folder.
    for i in 0..2 {
        let folder = folder.path().join(format!("executor-{i}"));
        assert!(
            folder.read_dir().unwrap().count() > 0,
            "executor {i} did nothing"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rule_that_is_wrong_is_an_error_and_not_a_hanging_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(1, folder.path(), &Stores::local()).await;
    let engine = cluster.engine(&Stores::local());
    let input = folder.path().join("in");
    std::fs::create_dir(&input).unwrap();
    std::fs::write(
        input.join("a.jsonl.gz"),
        b"\x1f\x8b\x08\x00 not a gzip file",
    )
    .unwrap();
    let output = folder.path().join("out");
    let run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
    let error = run_recipe(&engine, &recipe(), &run).await.unwrap_err();
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(text.contains("a.jsonl.gz"), "{text}");
}
