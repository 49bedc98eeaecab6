//! The names of the autoencoders of diffusers.

use super::Names;
use crate::presets::{AutoencoderKl, AutoencoderTiny};

impl Names {
    /// The names of `AutoencoderKL` in [diffusers](https://github.com/huggingface/diffusers), for the
    /// models that [`AutoencoderKl::config`] describes. Files with the names of its versions before
    /// 0.17 are read too.
    pub fn diffusers_kl(model: &AutoencoderKl) -> Self {
        let mut walk = Walk { names: Self::new(), part: "encoder", next: 0 };
        let levels = model.channels.len();
        walk.conv("encoder.conv_in");
        for level in 0..levels {
            let theirs = format!("encoder.down_blocks.{level}");
            (0..model.layers).for_each(|i| walk.resnet(&format!("{theirs}.resnets.{i}")));
            if level + 1 < levels {
                walk.conv(&format!("{theirs}.downsamplers.0.conv"));
            }
        }
        walk.middle("encoder.mid_block");
        walk.output("encoder");

        (walk.part, walk.next) = ("decoder", 0);
        walk.conv("post_quant_conv");
        walk.conv("decoder.conv_in");
        walk.middle("decoder.mid_block");
        for level in 0..levels {
            let theirs = format!("decoder.up_blocks.{level}");
            (0..=model.layers).for_each(|i| walk.resnet(&format!("{theirs}.resnets.{i}")));
            if level + 1 < levels {
                walk.skip(1);
                walk.conv(&format!("{theirs}.upsamplers.0.conv"));
            }
        }
        walk.output("decoder");
        walk.names.rename_joined(&["encoder.head.mean", "encoder.head.log_var"], "quant_conv")
    }

    /// The names of `AutoencoderTiny` in diffusers, for the models that [`AutoencoderTiny::config`]
    /// describes.
    pub fn diffusers_tiny(model: &AutoencoderTiny) -> Self {
        let mut walk = Walk { names: Self::new(), part: "encoder", next: 0 };
        let mut theirs = 0;
        let mut next = |part: &str, step: usize| {
            let name = format!("{part}.layers.{theirs}");
            theirs += step;
            name
        };
        for &blocks in &model.blocks {
            walk.conv(&next("encoder", 1));
            (0..blocks).for_each(|_| walk.tiny(&next("encoder", 1)));
        }
        walk.conv(&next("encoder", 1));

        (walk.part, walk.next, theirs) = ("decoder", 1, 0);
        let mut next = |step: usize| {
            let name = format!("decoder.layers.{theirs}");
            theirs += step;
            name
        };
        // The ReLU after the first convolution has a number there, and so has an enlargement.
        walk.conv(&next(2));
        for (i, &blocks) in model.blocks.iter().rev().enumerate() {
            (0..blocks).for_each(|_| walk.tiny(&next(1)));
            if i + 1 < model.blocks.len() {
                next(1);
                walk.skip(1);
            }
            walk.conv(&next(1));
        }
        walk.names
    }
}

/// A walk along the layers of a network here, and their names there.
struct Walk {
    names: Names,
    /// `encoder` or `decoder`.
    part: &'static str,
    /// Number of the next layer.
    next: usize,
}

impl Walk {
    /// Names parameters of the next layer, given as pairs of names below those of the layer.
    fn layer(&mut self, theirs: &str, parameters: &[[&str; 2]]) {
        let ours = format!("{}.network.layers.{}", self.part, self.next);
        let mut names = std::mem::take(&mut self.names);
        for [below, name] in parameters {
            let [from, to] = [(&*ours, below), (theirs, name)].map(|(prefix, name)| {
                if name.is_empty() { prefix.to_owned() } else { format!("{prefix}.{name}") }
            });
            names = names.rename(from, to);
        }
        self.names = names;
        self.next += 1;
    }

    /// Passes layers without parameters.
    fn skip(&mut self, layers: usize) {
        self.next += layers;
    }

    fn conv(&mut self, theirs: &str) {
        self.layer(theirs, &[["conv", ""]]);
    }

    fn resnet(&mut self, theirs: &str) {
        let parameters = [
            ["body.0", "norm1"],
            ["body.2.conv", "conv1"],
            ["body.3", "norm2"],
            ["body.5.conv", "conv2"],
            ["shortcut", "conv_shortcut"],
        ];
        self.layer(theirs, &parameters);
    }

    fn middle(&mut self, theirs: &str) {
        self.resnet(&format!("{theirs}.resnets.0"));
        let parameters = [
            ["body.0", "group_norm"],
            ["body.1.query", "to_q"],
            ["body.1.key", "to_k"],
            ["body.1.value", "to_v"],
            ["body.1.output", "to_out.0"],
        ];
        let attention = format!("{theirs}.attentions.0");
        self.layer(&attention, &parameters);
        // The names before version 0.17, which many published files have.
        for [old, new] in
            [["query", "to_q"], ["key", "to_k"], ["value", "to_v"], ["proj_attn", "to_out.0"]]
        {
            let [old, new] = [old, new].map(|name| format!("{attention}.{name}"));
            self.names = std::mem::take(&mut self.names).also_from(old, new);
        }
        self.resnet(&format!("{theirs}.resnets.1"));
    }

    fn output(&mut self, theirs: &str) {
        self.layer(&format!("{theirs}.conv_norm_out"), &[["", ""]]);
        self.skip(1);
        self.conv(&format!("{theirs}.conv_out"));
    }

    /// A residual block of the tiny autoencoder and the ReLU after it.
    fn tiny(&mut self, theirs: &str) {
        let parameters =
            [["body.0.conv", "conv.0"], ["body.1.conv", "conv.2"], ["body.2.conv", "conv.4"]];
        self.layer(theirs, &parameters);
        self.skip(1);
    }
}
