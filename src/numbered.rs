//! Reproducible records: parameters numbered in order instead of random ids.

use std::collections::HashMap;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId, ParameterValue,
};
use burn::tensor::{Bool, Device, Int, Tensor};

/// A module that presents its parameters with consecutive numbers instead of their ids.
///
/// Burn draws ids at random and writes them to the records of modules and optimisers. Numbered
/// modules with equal parameters produce equal records. The inner module keeps its ids, also when
/// it loads a record.
#[derive(Clone, Debug)]
pub(crate) struct Numbered<M> {
    pub(crate) module: M,
    /// Whether numbers are presented instead of ids.
    pub(crate) is_numbered: bool,
}

impl<M> Numbered<M> {
    pub(crate) fn new(module: M) -> Self {
        Self { module, is_numbered: true }
    }
}

impl<M: Module> Module for Numbered<M> {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        match self.is_numbered {
            true => self.module.visit(&mut Renamed::new(visitor)),
            false => self.module.visit(visitor),
        }
    }

    fn map<V: ModuleMapper>(self, mapper: &mut V) -> Self {
        let module = match self.is_numbered {
            true => self.module.map(&mut Renamed::new(mapper)),
            false => self.module.map(mapper),
        };
        Self { module, ..self }
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.module.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self { module: self.module.fork(device), ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { module: self.module.to_device(device), ..self }
    }

    fn train(self) -> Self {
        Self { module: self.module.train(), ..self }
    }

    fn valid(&self) -> Self {
        Self { module: self.module.valid(), ..*self }
    }

    fn materialize(self) -> Self {
        Self { module: self.module.materialize(), ..self }
    }
}

impl<M: ModuleDisplay> ModuleDisplayDefault for Numbered<M> {
    fn content(&self, content: Content) -> Option<Content> {
        self.module.content(content)
    }
}

impl<M: ModuleDisplay> ModuleDisplay for Numbered<M> {}

/// A visitor or mapper, and the numbers of the parameters seen so far.
struct Renamed<'a, V> {
    inner: &'a mut V,
    /// A parameter that occurs twice keeps one number.
    numbers: HashMap<ParamId, ParamId>,
}

impl<'a, V> Renamed<'a, V> {
    fn new(inner: &'a mut V) -> Self {
        Self { inner, numbers: HashMap::new() }
    }

    fn number(&mut self, id: ParamId) -> ParamId {
        let next = self.numbers.len() as u64 + 1;
        *self.numbers.entry(id).or_insert(next.into())
    }

    fn show<T: ParameterValue>(&mut self, param: &Param<T>) -> Param<T> {
        let mut shown = param.clone();
        shown.id = self.number(param.id);
        shown
    }

    fn map<T: ParameterValue>(
        &mut self,
        mut param: Param<T>,
        map: impl FnOnce(&mut V, Param<T>) -> Param<T>,
    ) -> Param<T> {
        let id = param.id;
        param.id = self.number(id);
        let mut mapped = map(self.inner, param);
        mapped.id = id;
        mapped
    }
}

// Flags are not part of records, so they keep their ids.
impl<V: ModuleVisitor> ModuleVisitor for Renamed<'_, V> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.inner.enter_module(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.inner.exit_module(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let param = self.show(param);
        self.inner.visit_float(&param);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let param = self.show(param);
        self.inner.visit_int(&param);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        let param = self.show(param);
        self.inner.visit_bool(&param);
    }

    fn visit_flag(&mut self, flag: &Param<burn::module::Flag>) {
        self.inner.visit_flag(flag);
    }
}

impl<V: ModuleMapper> ModuleMapper for Renamed<'_, V> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.inner.enter_module(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.inner.exit_module(name, container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.map(param, V::map_float)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        self.map(param, V::map_int)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.map(param, V::map_bool)
    }

    fn map_flag(&mut self, flag: Param<burn::module::Flag>) -> Param<burn::module::Flag> {
        self.inner.map_flag(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Module, Debug)]
    struct Three {
        first: Param<Tensor<1>>,
        second: Param<Tensor<1>>,
        again: Param<Tensor<1>>,
    }

    impl Three {
        /// Three parameters, the last of which is the first one again.
        fn new(value: f32) -> Self {
            let param = |value: f32| Param::from_data([value], &Device::flex());
            let first = param(value);
            Self { again: first.clone(), first, second: param(value + 1.0) }
        }

        fn ids(&self) -> [ParamId; 3] {
            [self.first.id, self.second.id, self.again.id]
        }
    }

    struct Seen(Vec<u64>);

    impl ModuleVisitor for Seen {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id.val());
        }
    }

    impl ModuleMapper for Seen {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0.push(param.id.val());
            Param::initialized(ParamId::new(), param.val().mul_scalar(2.0))
        }
    }

    #[test]
    fn a_visit_and_a_map_see_the_same_numbers_and_the_module_keeps_its_ids() {
        let (plain, mut seen) = (Three::new(1.0), Seen(Vec::new()));
        let module = Numbered::new(plain.clone());
        module.visit(&mut seen);
        let module = module.map(&mut seen).module;
        assert_eq!(seen.0, [1, 2, 1, 1, 2, 1]);
        assert_eq!(module.ids(), plain.ids());
        assert_eq!(module.second.val().into_scalar::<f32>(), 4.0);
    }

    #[test]
    fn records_are_equal_and_are_loaded_without_ids() {
        let bytes = |three| Numbered::new(three).into_record().into_bytes().unwrap();
        let (a, b) = (Three::new(1.0), Three::new(3.0));
        assert_eq!(bytes(a.clone())[..], bytes(Three::new(1.0))[..]);
        let loaded = Numbered::new(b.clone())
            .try_load_record(Numbered::new(a).into_record())
            .unwrap()
            .module;
        assert_eq!(loaded.ids(), b.ids());
        assert_eq!(loaded.second.val().into_scalar::<f32>(), 2.0);
    }
}
