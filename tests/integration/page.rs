//! The status page as a browser shows it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::browser::Browser;
use crate::harness::{Upstream, client, config_text, route};
use crate::programs::{Running, free_port, gatherd, said};

/// A service in a process of its own, with an admin listener and a state directory.
struct Stage {
    directory: TempDir,
    running: Running,
    https: String,
    admin: String,
}

impl Stage {
    /// One route, `/work`, that asks `upstream`.
    async fn set(upstream: &Upstream) -> Self {
        let directory = TempDir::new().expect("a directory for this test");
        let admin = format!("127.0.0.1:{}", free_port());
        let rest = [
            format!("listen = \"{admin}\"\n[rate_limit]\nrequests_per_second = 30\nburst = 30\n"),
            upstream.section("work", "/"),
            route("/work", "all", "work", "calls = 2"),
        ];
        let text = config_text("", &rest.concat()).replace("enabled = false", "enabled = true");
        fs::write(directory.path().join("config.toml"), text).expect("a file");
        let (running, https) = serve(directory.path()).await;
        Self {
            directory,
            running,
            https,
            admin,
        }
    }

    fn page(&self) -> String {
        format!("http://{}/", self.admin)
    }

    /// A browser in which the page says that all is well; none where there is no browser.
    async fn seen_well(&self) -> Option<Browser> {
        let browser = Browser::start().await?;
        browser.open(&self.page()).await;
        browser.text_when("headline", is_well).await;
        Some(browser)
    }

    /// Asks for the route, again and again.
    fn load(&self) -> AbortOnDropHandle<()> {
        let url = format!("{}/work", self.https);
        let asking: JoinHandle<()> = tokio::spawn(async move {
            let client = client();
            loop {
                // What comes of it is for the page to tell.
                let _ = client.get(&url).send().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        AbortOnDropHandle::new(asking)
    }
}

async fn serve(directory: &Path) -> (Running, String) {
    let mut command = gatherd::<&str>(directory, &[]);
    command.env("STATE_DIRECTORY", directory);
    let mut running = Running::start(command);
    let address = running.address("listening for HTTPS").await;
    (running, format!("https://{address}"))
}

/// What the page says when nothing is wrong with the service: the machine of the tests may be full.
fn is_well(headline: &str) -> bool {
    let busy = ["Look at this: event loop", "Look at this: steal"];
    headline == "All well" || busy.contains(&headline)
}

/// The number that a text begins with.
fn leading_number(text: &str) -> Option<f64> {
    text.split(' ').next()?.replace(',', "").parse().ok()
}

#[tokio::test]
async fn the_page_shows_that_all_is_well_and_moves_under_load() {
    let upstream = Upstream::start();
    let stage = Stage::set(&upstream).await;
    let Some(browser) = stage.seen_well().await else {
        return;
    };
    assert!(
        browser
            .text("summary")
            .await
            .contains("No requests in the last minute")
    );
    let title = browser.value("document.title").await;
    assert!(["Well · gatherd", "Look at this · gatherd"].contains(&title.as_str().expect("text")));
    let _load = stage.load();
    let good = "#routes tbody td";
    let rate = format!("document.querySelector('{good}').firstChild.textContent");
    let moved = async {
        loop {
            let rate = browser.value(&rate).await;
            if rate
                .as_str()
                .and_then(leading_number)
                .is_some_and(|rate| rate > 0.5)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let minute = Duration::from_secs(60);
    tokio::time::timeout(minute, moved)
        .await
        .expect("the rate moves");
    // The limiter refuses some of them, and says whom.
    browser
        .text_when("clients", |text| text.contains("127.0.0.1"))
        .await;
    browser
        .text_when("refusals", |text| text.contains("requests_per_second"))
        .await;
    let drawn = "document.querySelector('#rate path.good').getAttribute('d').length > 4";
    let charted = async {
        while browser.value(drawn).await != true {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(minute, charted)
        .await
        .expect("the chart moves");
    assert_the_keyboard_reads_the_chart(&browser).await;
    assert_the_policy_holds(&browser).await;
    // The terminal says the same.
    let said = said(stage.directory.path(), &["status"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("\n/work "), "{said:?}");
}

async fn assert_the_keyboard_reads_the_chart(browser: &Browser) {
    // Home is the oldest point.
    browser
        .value("document.querySelector('#rate .plot').focus()")
        .await;
    browser.press("\u{e011}").await;
    let spoken = browser
        .value("document.activeElement.getAttribute('aria-valuetext')")
        .await;
    assert!(
        spoken.as_str().expect("text").contains(": good "),
        "{spoken}"
    );
}

/// It allows all that the page does, and not more.
async fn assert_the_policy_holds(browser: &Browser) {
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    let styled = "(document.body.style.cssText = '', document.body.setAttribute('style', 'opacity: 0'), getComputedStyle(document.body).opacity)";
    assert_eq!(browser.value(styled).await, "1");
}

#[tokio::test]
async fn the_page_says_in_words_which_upstream_is_in_trouble() {
    let upstream = Upstream::start();
    let stage = Stage::set(&upstream).await;
    let Some(browser) = stage.seen_well().await else {
        return;
    };
    let _load = stage.load();
    drop(upstream);
    let headline = "Trouble: upstream work";
    browser.text_when("headline", |text| text == headline).await;
    assert!(
        browser
            .text("reason")
            .await
            .contains("of its calls end in connect")
    );
    assert!(browser.text("upstreams").await.contains("connect"));
    assert_eq!(
        browser
            .value("document.querySelector('#upstreams tbody tr').dataset.health")
            .await,
        "trouble"
    );
    assert!(browser.text("announcement").await.starts_with("Trouble: "));
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        let faintest = browser.value(FAINTEST).await;
        let contrast = faintest[0].as_f64().expect("a contrast");
        // WCAG 2.2, success criterion 1.4.3.
        assert!(contrast >= 4.5, "{scheme}: {faintest}");
    }
}

/// The text with the least contrast to what is behind it (WCAG 2.2, relative luminance).
const FAINTEST: &str = "(() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const luminance = (color) => [0.2126, 0.7152, 0.0722]
        .reduce((sum, weight, index) => sum + weight * linear(color[index] / 255), 0);
    const ground = (element) => {
        const color = parts(getComputedStyle(element).backgroundColor);
        return (color[3] ?? 1) === 1 ? color : ground(element.parentElement);
    };
    const contrast = (element) => {
        const style = getComputedStyle(element);
        const ink = parts(element instanceof SVGElement ? style.fill : style.color);
        const [light, dark] = [ink, ground(element)].map(luminance).sort((a, b) => b - a);
        return [(light + 0.05) / (dark + 0.05), element.textContent];
    };
    const isShown = (element) => element.getBoundingClientRect().width > 2
        && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const shown = [...document.querySelectorAll('body *')].filter(isShown);
    return shown.map(contrast).sort((a, b) => a[0] - b[0])[0];
})()";

#[tokio::test]
async fn the_page_says_when_it_hears_nothing_and_comes_back_with_the_service_and_its_history() {
    let upstream = Upstream::start();
    let mut stage = Stage::set(&upstream).await;
    let Some(browser) = stage.seen_well().await else {
        return;
    };
    let points = "document.querySelectorAll('#minutes tbody tr').length";
    let told = async {
        while browser.value(points).await == 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), told)
        .await
        .expect("a point");
    let first = "[...document.querySelectorAll('#minutes tbody th')].at(-1).textContent";
    let first_minute = browser.value(first).await;
    stage.running.terminate();
    assert_eq!(stage.running.ended().await, Some(0));
    let lost = browser
        .text_when("link", |text| text.starts_with("connection lost, since "))
        .await;
    assert!(
        browser
            .text("headline")
            .await
            .starts_with("Connection lost, since "),
        "{lost}"
    );
    (stage.running, stage.https) = serve(stage.directory.path()).await;
    browser
        .text_when("link", |text| text.starts_with("live, "))
        .await;
    browser.text_when("headline", is_well).await;
    assert_eq!(browser.value(first).await, first_minute);
}
