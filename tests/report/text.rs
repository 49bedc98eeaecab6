//! The text of a page.

use burn::tensor::Device;
use burn_vae::data::{ByteImages, Table};
use burn_vae::report::Html;
use burn_vae::train::History;
use burn_vae::{ErrorKind, MlpVae, MlpVaeConfig, ModuleConfig, Seed};

use crate::browser::Browser;
use crate::history;

fn vae(data_dim: usize) -> MlpVae {
    MlpVaeConfig::mlp(data_dim, [4], 2).init(Seed::new(0), &Device::flex()).unwrap()
}

/// A page needs nothing but itself.
#[test]
fn nothing_is_loaded() {
    let images = ByteImages::new(vec![7; 40], [2, 2, 1]).unwrap();
    let page = Html::new("Page", &history()).with_images(&vae(4), &images).unwrap().to_html();
    let namespace = "http://www.w3.org/2000/svg";
    let page = page.replace(namespace, "");
    for link in ["http://", "https://", "src=", "@import", "url(h", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(link), "{link}");
    }
    assert!(page.contains("default-src 'none'"));
}

/// Titles, commands and figures are text, whatever they contain.
#[test]
fn text_stays_text() {
    let nasty =
        "</script><script>document.title = 'broken'</script>{{data}}<img src=x onerror=1>&\"'";
    let page = Html::new(nasty, &history()).with_command(nasty).with_figure(nasty, nasty).to_html();
    assert!(!page.contains("<img src=x") && !page.contains("<script>document.title"));
    let Some(mut browser) = Browser::open(&page) else { return };
    for place in ["title", "h1", "#command", "#figures th", "#figures td"] {
        let text = format!("document.querySelector('{place}').textContent");
        assert_eq!(browser.text(&text), nasty, "{place}");
    }
    browser.close();
}

#[test]
fn a_history_without_epochs_makes_a_page() {
    let page = Html::new("Empty", &History::default()).to_html();
    assert!(page.contains("0 epochs"));
    let Some(mut browser) = Browser::open(&page) else { return };
    let text = browser.text("document.getElementById('chart').textContent");
    assert_eq!(text, "No epoch has finished.");
    browser.close();
}

#[test]
fn examples_that_do_not_fit_are_refused() {
    let page = || Html::new("Page", &history());
    let table = Table::new(vec![0.5; 12], ["a", "b", "c", "d"]).unwrap();
    let error = |result: burn_vae::Result<Html>| {
        let error = result.err().expect("an error");
        (error.kind(), error.to_string())
    };
    let (kind, text) = error(page().with_examples(&vae(5), &table, None));
    assert_eq!(kind, ErrorKind::Shape);
    assert!(text.contains('4') && text.contains('5'), "{text}");
    let (kind, text) = error(page().with_examples(&vae(4), &table, Some(&[1, 2])));
    assert_eq!((kind, &*text), (ErrorKind::Data, "there are 2 labels for 3 examples"));
    let none = ByteImages::new(vec![], [2, 2, 1]).unwrap();
    let (kind, text) = error(page().with_images(&vae(4), &none));
    assert_eq!((kind, &*text), (ErrorKind::Data, "there are no examples to show"));
}

/// Networks above the limit leave a page with its other parts.
#[test]
fn large_networks_are_left_out() {
    let vae = MlpVaeConfig::mlp(784, [1024], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let page = Html::new("Large", &history()).with_model(&vae).unwrap().to_html();
    assert!(page.len() < 400_000, "{}", page.len());
    assert!(page.contains("1,614,612 parameters"));
}
