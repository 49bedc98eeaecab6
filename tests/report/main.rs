//! The page of a training: its text, and its behaviour in Chromium if that is installed.

mod browser;
mod interaction;
mod networks;
mod text;

use burn_vae::train::History;

/// A history of three epochs.
fn history() -> History {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.csv");
    let mut text = String::from(
        "epoch,train_nelbo,train_distortion,train_divergence,valid_nelbo,valid_distortion,\
         valid_divergence,at_full_weight,active_units,used_codes,code_perplexity,skipped_steps,\
         train_seconds,valid_seconds\n",
    );
    for (epoch, nelbo) in [(1, 200.5), (2, 170.25), (3, 171.0)] {
        let distortion = nelbo - 5.0;
        text +=
            &format!("{epoch},{nelbo},{distortion},5,{nelbo},{distortion},5,true,,,,0,1.5,0.5\n");
    }
    std::fs::write(&path, text).unwrap();
    History::read_csv(&path).unwrap()
}
