//! What authors meet in JavaScript and TypeScript, whose tools are the same: see `authors`.

use std::path::Path;

use mo_router::scaffold::{self, Language};

use crate::authors::{Author, says};
use crate::authors_builds::make;
use crate::support::languages::has_tools;

const JAVASCRIPT: &str = r"
import moment from 'moment-timezone';
import { get } from 'wasi:config/store@0.2.0-rc.1';
import { fail, word } from '../shared/helper.js';

const morning = (day) => ({
  due: { tag: 'at', val: { seconds: BigInt(moment.tz(`2024-${day} 08:00`, 'Europe/Copenhagen').unix()) } },
});

export const filter = {
  subscriptions: () => ['employee.#'],
  route: ({ topic }) => {
    switch (topic.action) {
      case 'terminate':
        return [morning('03-31'), morning('10-27')];
      case 'edit':
        return fail();
      case 'update':
        return [{ body: 'text' }];
      case 'refresh':
        return [{ routing_key: 'a' }];
    }
    return [{ headers: [['first', word], ['set', get('greeting')]] }];
  },
};
";

const JAVASCRIPT_HELPER: &str = "export const word = 'first';\nexport const fail = () => {\n  \
                                 throw new Error('no unit');\n};\n";

#[tokio::test]
async fn authors_in_javascript() {
    if !has_tools("javascript") {
        return;
    }
    let author = Author {
        language: Language::JavaScript,
        files: &[("plugin.js", JAVASCRIPT), ("../shared/helper.js", JAVASCRIPT_HELPER)],
        links: &[],
        second_file: "../shared/helper.js",
        packages: &[(
            "package.json",
            "\"type\": \"module\",=>\"type\": \"module\",\n  \"dependencies\": { \"moment-timezone\": \"^0.6.0\" },",
        )],
    };
    let [exception, body, field] = author.works().await;
    says(&exception, &["Error: no unit", "at ../shared/helper.js:3, in fail"]);
    says(&body, &["publications[0].body: expected a Uint8Array", "got string \"text\""]);
    says(
        &field,
        &["publications[0].routing_key: there is no such field; did you mean routingKey?"],
    );
}

const TYPESCRIPT: &str = r#"
import moment from 'moment-timezone';
import type { Filter, Publication } from 'os2mo:router/types@1.1.0';
import { get } from 'wasi:config/store@0.2.0-rc.1';
import { word } from './plugins/word';

const morning = (day: string): Publication => ({
  due: { tag: 'at', val: { seconds: BigInt(moment.tz(`2024-${day} 08:00`, 'Europe/Copenhagen').unix()) } },
});

export const filter: Filter = {
  subscriptions: () => ['employee.#'],
  route: ({ topic, routingKey }) => {
    switch (topic.action) {
      case 'terminate':
        return [morning('03-31'), morning('10-27')];
      case 'edit':
        throw new Error(`no unit ${routingKey}`);
      case 'update':
        return JSON.parse('{ "body": "text" }');
      case 'refresh':
        throw { tag: 'reject', val: 'not ours' };
    }
    return [{ headers: [['first', word], ['set', get('greeting') ?? '']] }];
  },
};
"#;

#[tokio::test]
async fn authors_in_typescript() {
    if !has_tools("javascript") {
        return;
    }
    let author = Author {
        language: Language::TypeScript,
        files: &[
            ("plugin.ts", TYPESCRIPT),
            ("plugins/word.ts", "export const word: string = 'first';\n"),
        ],
        links: &[],
        second_file: "plugins/word.ts",
        packages: &[(
            "package.json",
            "\"devDependencies\": {=>\"dependencies\": { \"moment-timezone\": \"^0.6.0\" },\n  \"devDependencies\": {",
        )],
    };
    let [exception, object, reject] = author.works().await;
    says(&exception, &["Error: no unit employee.it.edit", "at plugin.ts:18, in route"]);
    says(&object, &["publications: expected a list, got object {\"body\":\"text\"}"]);
    assert_eq!(reject, "Err(Reject(\"not ours\"))");
}

/// Types that nobody checks are told of, in TypeScript alone.
#[test]
fn that_the_types_are_not_checked_is_said() {
    if !has_tools("javascript") {
        return;
    }
    let said = |language, edit: &dyn Fn(&Path)| {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = scaffold::write("own", language, parent.path()).expect("a new project");
        edit(&folder);
        make(&folder, &["unit-test"], &[])
    };
    let not_checked =
        "the types are not checked: typescript is not among the devDependencies of package.json";
    let without = said(Language::TypeScript, &|folder| {
        std::fs::write(folder.join("package.json"), "{ \"type\": \"module\" }").expect("written");
    });
    assert!(without.contains(not_checked), "{without}");
    let in_javascript = said(Language::JavaScript, &|_| ());
    assert!(!in_javascript.contains(not_checked), "{in_javascript}");
}
