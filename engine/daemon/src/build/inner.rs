//! The images of inner stages: what a client keeps for `--cache-to mode=max`.
//!
//! An image is its own cache: its history says which step made which layer. The built image tells of its own
//! steps only; those of the stages that it copies from are in the images of these stages, which
//! are made when a client asks for them.

use glassdock_trace::Trace;

use super::builder::Shared;
use super::stage::Stage;
use crate::error::{Error, Kind};

impl Shared {
    /// Makes images of the stages and tells the client their ids, in the order of the stages. A stage that did
    /// nothing needs none, nor one whose steps are another's first ones, as those of a base are.
    pub(super) async fn keep_inner(
        &self,
        trace: &Trace,
        inner: Vec<Stage>,
        last: &Stage,
    ) -> Result<(), Error> {
        let is_part = |stage: &Stage, of: &Stage| of.config.history.starts_with(&stage.config.history);
        let mut kept: Vec<Stage> = Vec::new();
        for stage in inner.into_iter().rev() {
            let known = kept.iter().chain([last]).any(|other| is_part(&stage, other));
            if !known && stage.untouched().is_none() && !stage.is_empty() {
                kept.push(stage);
            }
        }
        let mut ids = Vec::new();
        for stage in kept.into_iter().rev() {
            let bytes =
                serde_json::to_vec(&stage.config).map_err(|error| Error::of(Kind::Internal, &error))?;
            let (trace, lease) = (trace.clone(), std::sync::Arc::clone(&self.lease));
            let image = self
                .engine
                .blocking(move |engine| engine.images.assemble(&trace, &lease, &bytes, stage.layers, &[]))
                .await?;
            ids.push(image.id.to_string());
        }
        self.words.at(self.plan.order.len()).stages(&ids);
        Ok(())
    }
}
