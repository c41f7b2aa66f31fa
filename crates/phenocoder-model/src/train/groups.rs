//! Groups of weights with an optimizer each.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use serde_json::Value;

use super::clip::finite_norm;
use super::{ClipConfig, FitConfig, Observer, Optimizer, Schedule};
use crate::{Autoencoder, Error, Gradients, Parameters, Result, Update};

/// The groups of a model in its order.
pub(super) struct Groups {
    groups: Vec<Group>,
    /// The gradients of the batches of a running update, one entry for each call of a step.
    pending: Vec<Pending>,
}

struct Group {
    name: String,
    weights: BTreeSet<String>,
    optimizer: Box<dyn Optimizer>,
    schedule: Box<dyn Schedule>,
    clip: Option<ClipConfig>,
}

/// What one call of [`Update::apply`] has added up over the batches so far.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) group: String,
    pub(super) gradients: Gradients,
}

/// The place of a batch among those of one update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Its share of the patches of the update, 1 for a batch alone.
    pub(super) share: f64,
    /// Whether the weights change after it.
    pub(super) last: bool,
}

/// When in a run an update is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The epoch, from 0 on.
    pub(super) epoch: usize,
    /// The updates before it.
    pub(super) update: u64,
    pub(super) updates_per_epoch: u64,
}

/// The named tensors of an optimizer.
pub(super) type OptimizerState = BTreeMap<String, Tensor>;

impl Groups {
    /// One optimizer for each group of a model.
    pub(super) fn new(model: &dyn Autoencoder, config: &FitConfig) -> Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for group in model.groups() {
            let problem = |problem: String| Error::Group {
                group: group.name.clone(),
                problem,
            };
            if groups.iter().any(|other| other.name == group.name) {
                return Err(problem("there are two of this name".to_owned()));
            }
            let weights: BTreeSet<String> = group.weights.iter().cloned().collect();
            let known: BTreeSet<&str> = model.parameters().weights().map(|(n, _)| n).collect();
            if let Some(name) = weights.iter().find(|name| !known.contains(name.as_str())) {
                return Err(problem(format!("the model has no weight `{name}`")));
            }
            let settings = config.group(&group.name);
            groups.push(Group {
                weights,
                optimizer: settings.optimizer.build()?,
                schedule: settings
                    .schedule
                    .build(settings.learning_rate, config.epochs)?,
                clip: settings.clip.copied(),
                name: group.name,
            });
        }
        if groups.is_empty() {
            return Err(Error::Group {
                group: String::new(),
                problem: "the model has no group".to_owned(),
            });
        }
        if let Some(name) = config
            .groups
            .keys()
            .find(|name| !groups.iter().any(|group| &group.name == *name))
        {
            let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
            return Err(Error::Group {
                group: name.clone(),
                problem: format!("the model has none of this name; it has {names:?}"),
            });
        }
        Ok(Self {
            groups,
            pending: Vec::new(),
        })
    }

    /// The learning rate of the first group.
    pub(super) fn learning_rate(&self, moment: Moment) -> f64 {
        self.groups.first().map_or(0.0, |group| group.rate(moment))
    }

    /// Shows the loss of an epoch to all schedules.
    pub(super) fn observe(&mut self, loss: f64) {
        for group in &mut self.groups {
            group.schedule.observe(loss);
        }
    }

    /// Takes the updates of one batch.
    pub(super) fn step<'a, 'o>(
        &'a mut self,
        parameters: &'a Parameters,
        part: Part,
        moment: Moment,
        observers: &'a mut [&'o mut dyn Observer],
    ) -> BatchUpdate<'a, 'o> {
        BatchUpdate {
            groups: self,
            observers,
            parameters,
            part,
            moment,
            call: 0,
            has_changed: false,
        }
    }

    /// Forgets the gradients of an update that is done.
    pub(super) fn end_update(&mut self) {
        self.pending.clear();
    }

    pub(super) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    pub(super) fn set_pending(&mut self, pending: Vec<Pending>) {
        self.pending = pending;
    }

    /// The state of every optimizer and every schedule by the names of their groups.
    pub(super) fn state(&self) -> Result<BTreeMap<String, (OptimizerState, Value)>> {
        let state = |group: &Group| {
            Ok((
                group.name.clone(),
                (group.optimizer.state()?, group.schedule.state()),
            ))
        };
        self.groups.iter().map(state).collect()
    }

    pub(super) fn restore(
        &mut self,
        state: &BTreeMap<String, (OptimizerState, Value)>,
    ) -> Result<()> {
        for group in &mut self.groups {
            let Some((optimizer, schedule)) = state.get(&group.name) else {
                return Err(Error::Group {
                    group: group.name.clone(),
                    problem: "it is not in the checkpoint".to_owned(),
                });
            };
            group.optimizer.restore(optimizer)?;
            group.schedule.restore(schedule)?;
        }
        Ok(())
    }
}

impl Group {
    fn rate(&self, moment: Moment) -> f64 {
        self.schedule
            .rate(moment.epoch, moment.update, moment.updates_per_epoch)
    }

    /// Checks that gradients are those of weights of this group.
    fn check(&self, parameters: &Parameters, gradients: &Gradients) -> Result<()> {
        for (name, gradient) in gradients {
            let weight = parameters.get(name).filter(|_| self.weights.contains(name));
            let Some(weight) = weight else {
                return Err(Error::Group {
                    group: self.name.clone(),
                    problem: format!("`{name}` is not one of its weights"),
                });
            };
            if gradient.dims() != weight.dims() {
                return Err(Error::Array {
                    name: name.clone(),
                    problem: format!(
                        "expected a gradient {:?}, found {:?}",
                        weight.dims(),
                        gradient.dims()
                    ),
                });
            }
        }
        Ok(())
    }
}

/// The updates of one batch.
pub(super) struct BatchUpdate<'a, 'o> {
    groups: &'a mut Groups,
    observers: &'a mut [&'o mut dyn Observer],
    parameters: &'a Parameters,
    part: Part,
    moment: Moment,
    call: usize,
    has_changed: bool,
}

impl BatchUpdate<'_, '_> {
    /// Whether a weight may have changed.
    pub(super) fn has_changed(&self) -> bool {
        self.has_changed
    }
}

impl Update for BatchUpdate<'_, '_> {
    fn apply(&mut self, group: &str, gradients: &Gradients) -> Result<()> {
        let Groups { groups, pending } = &mut *self.groups;
        let Some(group) = groups.iter_mut().find(|g| g.name == group) else {
            return Err(Error::Group {
                group: group.to_owned(),
                problem: "the model has none of this name".to_owned(),
            });
        };
        group.check(self.parameters, gradients)?;
        let mut norm = finite_norm(gradients)?;
        let alone = self.part.share >= 1.0;
        let mut gradients = gradients.clone();
        if !alone {
            let call = self.call;
            self.call += 1;
            if call >= pending.len() {
                pending.push(Pending {
                    group: group.name.clone(),
                    gradients: Gradients::new(),
                });
            }
            let sum = &mut pending[call];
            if sum.group != group.name {
                return Err(Error::Group {
                    group: group.name.clone(),
                    problem: format!(
                        "gradients are accumulated, but call {} of the step was for `{}` before",
                        call + 1,
                        sum.group
                    ),
                });
            }
            for (name, gradient) in &gradients {
                let part = (gradient * self.part.share)?;
                let total = match sum.gradients.get(name) {
                    Some(total) => (total + part)?,
                    None => part,
                };
                sum.gradients.insert(name.clone(), total);
            }
            if !self.part.last {
                return Ok(());
            }
            gradients.clone_from(&sum.gradients);
            norm = finite_norm(&gradients)?;
        }
        let Moment { epoch, update, .. } = self.moment;
        for observer in self.observers.iter_mut() {
            observer.on_gradients(epoch + 1, update + 1, &gradients)?;
        }
        if let Some(clip) = &group.clip {
            clip.clip_with_norm(&mut gradients, norm)?;
        }
        let rate = group.rate(self.moment);
        self.has_changed = true;
        group.optimizer.step(self.parameters, &gradients, rate)
    }
}
