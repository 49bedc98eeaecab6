use std::sync::Arc;

use burn::module::{ParamId, RunningState};
use burn::tensor::{Device, Tensor};

use super::checks::{check_annealing, check_dim, check_trainable, title};
use super::config::TrainConfig;
use super::trainer::Trainer;
use crate::data::{BatchLoader, Checked, Examples};
use crate::error::{Error, Result};
use crate::eval::Measure;
use crate::exec::Threads;
use crate::model::Model;
use crate::noise::{NoiseSource, check_noise};
use crate::numbered::Numbered;
use crate::objective::Objective;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
use crate::train::learner::Capture;
use crate::train::learner::{
    Claim, NoiseAhead, Readings, Run, Setup, Shares, Step, Trainable, Watch,
};
use crate::train::store::{
    DataIdentity, Events, History, Identity, groups, learning_rates, lines, probe,
};

impl<M: Model + 'static> Trainer<Arc<dyn Objective<M>>> {
    /// Checks everything but the folder and assembles the run. Returns what it asks of the folder too.
    pub(super) fn prepare(
        self,
        model: M,
        train: Arc<dyn Examples>,
        valid: Arc<dyn Examples>,
    ) -> Result<(Run<M>, Option<Claim>)> {
        let config = self.config;
        let TrainConfig { batch_size, num_samples, epsilon_std, seed, .. } = config;
        config.check()?;
        check_dim("training", &*train, &model)?;
        check_dim("validation", &*valid, &model)?;
        let largest_batch = batch_size.min(train.len().max(valid.len()));
        check_noise(num_samples, largest_batch, model.noise().dim())?;
        self.objective.check_samples(num_samples)?;
        let device = model.devices().first().cloned().ok_or_else(|| {
            Error::config("the model has no parameters, so there is nothing to train")
        })?;
        let noise = |name| NoiseSource::new(seed.child(name)).with_std(epsilon_std);
        let checked = |set| -> Arc<dyn Examples> { Arc::new(Checked::for_bounds(set, &model)) };
        let (train, valid) = (checked(train), checked(valid));
        let sets = [train.clone(), valid.clone()];
        let train = BatchLoader::shuffled(train, batch_size, seed.child("shuffle"), &device)?;
        let valid = BatchLoader::ordered(valid, batch_size, &device)?;
        self.check_shares(&device)?;
        let batches = train.batches() as u64;
        check_annealing(&*self.objective, batches, config.epochs)?;
        let objective = self.objective.clone();
        let protocols = sets.each_ref().map(|set| set.protocol());
        let watch = Watch {
            title: title(
                protocols,
                protocols.map(|protocol| Measure::of(model.support(), protocol)),
            ),
            csv: self.csv.clone(),
            events: self.events.clone().map(Events::new),
            progress: self.progress,
            batches,
            at_full_weight: Box::new(move |step| objective.at_full_weight(step)),
            request: self.interrupter.clone(),
        };
        let state = self.objective.initial_state().map(|state| {
            let device = device.clone().autodiff();
            // The model's parameters are numbered from 1, so 0 is free.
            let id = ParamId::from(0);
            RunningState::with_id(id, Tensor::from_data(state.as_slice(), &device))
        });
        let setup = Setup {
            objective: self.objective.clone(),
            num_samples,
            max_norm: self.max_norm,
            skip_above: self.skip_above,
            train_noise: noise("train noise")?,
            valid_noise: noise("valid noise")?,
            threads: Threads::of(&device),
            readings: Readings::new(&device, train.batches(), self.skip_above.is_some()),
            noise: NoiseAhead::default(),
            shares: Shares::new(self.devices.clone(), config.accumulate),
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            capture: Capture::default(),
        };
        let is_numbered = self.checkpoints.is_some();
        let model = Numbered { module: model.train(), is_numbered };
        check_trainable(&model)?;
        let trainable = Step { model, state, setup };
        let folder = match &self.checkpoints {
            None => None,
            Some((dir, existing)) => {
                Some((dir.clone(), self.identity(&trainable, &sets, &device)?, *existing))
            }
        };
        let run = Run {
            trainable,
            config,
            optimizer: self.optimizer,
            lr: self.lr,
            train,
            valid,
            watch,
            folder: None,
            epoch: 0,
            history: History::default(),
            parts: None,
            best: None,
            observe: None,
        };
        Ok((run, folder))
    }

    /// Checks that batches can be shared out.
    fn check_shares(&self, device: &Device) -> Result<()> {
        let TrainConfig { batch_size, accumulate, .. } = self.config;
        if accumulate == 0 {
            return Err(Error::config("accumulate is 0, but it must be at least 1"));
        }
        let devices = self.devices.len().max(1);
        let shares = devices.checked_mul(accumulate);
        if shares.is_none_or(|shares| shares > batch_size) {
            return Err(Error::config(format!(
                "batch_size is {batch_size}, too small for {devices} devices with accumulate \
                 {accumulate}: each part needs an example"
            )));
        }
        if let Some(first) = self.devices.first()
            && first.clone().inner() != device.clone().inner()
        {
            return Err(Error::config(format!(
                "the first device to train on is {first:?}, but the model is on {device:?}"
            )));
        }
        if shares != Some(1) && self.objective.initial_state().is_some() {
            return Err(Error::config(
                "the objective carries a state from step to step, such as a target for the divergence, \
                 which each part of a batch would change: train on one device with accumulate 1",
            ));
        }
        Ok(())
    }

    /// Returns the fingerprint that a run must match to be resumed.
    fn identity(
        &self,
        trainable: &Trainable<M>,
        [train, valid]: &[Arc<dyn Examples>; 2],
        device: &Device,
    ) -> Result<Identity> {
        if !self.optimizer.to_record().is_empty() {
            return Err(Error::config(
                "the optimiser has already taken steps, but a run with checkpoints needs a fresh one",
            ));
        }
        // The device works last, so that a server that freezes is found lost before the folder is claimed.
        let (train_set, valid_set) = (DataIdentity::of(&**train)?, DataIdentity::of(&**valid)?);
        let mut by_id = trainable.clone();
        by_id.model.is_numbered = false;
        Ok(Identity {
            config: self.config,
            model: lines(&trainable.model.module),
            devices: self.devices.len().max(1),
            objective: format!("{:?}", self.objective),
            max_norm: self.max_norm,
            skip_above: self.skip_above.map(|threshold| threshold.to_string()),
            optimizer: probe(&self.optimizer, device)?,
            learning_rates: learning_rates(&self.lr),
            groups: groups(&self.optimizer, &self.lr, [trainable, &by_id], device)?,
            train_set,
            valid_set,
        })
    }
}
