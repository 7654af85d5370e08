//! GraphQL as MO speaks it: documents checked and run, with the errors that it gives.

use std::time::Duration;

use async_graphql_parser::types::{
    BaseType, DocumentOperations, Field, OperationDefinition, OperationType, Selection,
    SelectionSet, Type, VariableDefinition,
};
use async_graphql_parser::{Pos, Positioned, parse_query};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::fields::{self, Node};
use super::world::{World, read_token};

/// Whoever asks, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Uuid,
    /// None: everything.
    pub roles: Option<Vec<String>>,
}

/// An error of the answer.
#[derive(Debug)]
pub struct Error {
    message: String,
    at: Option<Pos>,
    path: Option<String>,
}

type Run<T> = Result<T, Error>;

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: None, path: None }
    }

    fn at(message: impl Into<String>, at: Pos) -> Self {
        Self { message: message.into(), at: Some(at), path: None }
    }

    /// The body of the answer.
    pub fn answer(&self) -> Json {
        let mut error = json!({ "message": self.message });
        if let Some(at) = self.at {
            error["locations"] = json!([{ "line": at.line, "column": at.column }]);
        }
        if let Some(path) = &self.path {
            error["path"] = json!([path]);
        }
        json!({ "data": null, "errors": [error] })
    }
}

/// Runs a request in a transaction of its own, and gives the answer.
pub fn answer(
    world: &mut World,
    query: &str,
    variables: &Json,
    caller: &Caller,
    now: Duration,
) -> Json {
    world.begin();
    match run(world, query, variables, caller, now) {
        Ok(data) => json!({ "data": data }),
        Err(error) => {
            world.roll_back();
            error.answer()
        }
    }
}

fn run(
    world: &mut World,
    query: &str,
    variables: &Json,
    caller: &Caller,
    now: Duration,
) -> Run<Json> {
    let document = parse_query(query).map_err(|error| syntax_error(query, &error))?;
    let operation: OperationDefinition = match document.operations {
        DocumentOperations::Single(operation) => operation.node,
        DocumentOperations::Multiple(operations) => match operations.into_values().next() {
            Some(operation) => operation.node,
            None => return Err(Error::new("Must provide an operation.")),
        },
    };
    let variables = coerce(&operation.variable_definitions, variables)?;
    let fields: Vec<&Positioned<Field>> = fields_of(&operation.selection_set.node).collect();
    for field in &fields {
        check(operation.ty, field)?;
    }
    let mut data = Map::new();
    for field in fields {
        let key = field.node.response_key().node.to_string();
        let arguments = arguments(&field.node, &variables)?;
        let run = fields::run(world, &field.node.name.node, &arguments, caller, now);
        let node =
            run.map_err(|message| Error { message, at: Some(field.pos), path: Some(key.clone()) })?;
        data.insert(key, select(world, &node, &field.node.selection_set.node)?);
    }
    Ok(data.into())
}

fn syntax_error(query: &str, error: &async_graphql_parser::Error) -> Error {
    let at = error.positions().next().unwrap_or_default();
    let ends = query.lines().last().is_none_or(|line| at.column > line.trim_end().len());
    let found = if ends { "<EOF>" } else { "something else" };
    Error::at(format!("Syntax Error: Expected Name, found {found}."), at)
}

/// What there is at the root, and that cursors are some.
fn check(kind: OperationType, field: &Positioned<Field>) -> Run<()> {
    let name = field.node.name.node.as_str();
    let (root, known) = match kind {
        OperationType::Mutation => ("Mutation", fields::MUTATIONS),
        OperationType::Query | OperationType::Subscription => ("Query", fields::QUERIES),
    };
    if !known.contains(&name) {
        let near = known.iter().find(|known| name.starts_with(**known));
        let near = near.map(|near| format!(" Did you mean '{near}'?")).unwrap_or_default();
        let message = format!("Cannot query field '{name}' on type '{root}'.{near}");
        return Err(Error::at(message, field.pos));
    }
    let cursor = field.node.arguments.iter().find(|(name, _)| name.node == "cursor");
    if let Some((_, cursor)) = cursor
        && let Ok(Json::String(text)) = serde_json::to_value(&cursor.node)
        && fields::read_cursor(&text).is_none()
        && !text.starts_with('$')
    {
        let message =
            format!("Expected value of type 'Cursor', found {text:?}; list index out of range");
        return Err(Error::at(message, cursor.pos));
    }
    Ok(())
}

fn fields_of(set: &SelectionSet) -> impl Iterator<Item = &Positioned<Field>> {
    set.items.iter().filter_map(|item| match &item.node {
        Selection::Field(field) => Some(field),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
    })
}

fn arguments(field: &Field, variables: &Map<String, Json>) -> Run<Json> {
    let mut arguments = Map::new();
    for (name, value) in &field.arguments {
        let value = value.node.clone().into_const_with(|variable| {
            serde_json::from_value(variables.get(variable.as_str()).cloned().unwrap_or_default())
        });
        let value = value.map_err(|error| Error::at(error.to_string(), name.pos))?;
        let value = value.into_json().map_err(|error| Error::at(error.to_string(), name.pos))?;
        arguments.insert(name.node.to_string(), value);
    }
    Ok(arguments.into())
}

/// The selected fields of an object, or of each in a list.
fn select(world: &World, node: &Node, set: &SelectionSet) -> Run<Json> {
    Ok(match node {
        Node::Json(value) => value.clone(),
        Node::List(nodes) => {
            let items: Run<Vec<Json>> = nodes.iter().map(|node| select(world, node, set)).collect();
            items?.into()
        }
        object => {
            let mut selected = Map::new();
            for field in fields_of(set) {
                let name = field.node.name.node.as_str();
                let Some(value) = fields::field(world, object, name) else {
                    let kind = object.kind();
                    let message = format!("Cannot query field '{name}' on type '{kind}'.");
                    return Err(Error::at(message, field.pos));
                };
                let value = select(world, &value, &field.node.selection_set.node)?;
                selected.insert(field.node.response_key().node.to_string(), value);
            }
            selected.into()
        }
    })
}

/// The variables that a document declares, checked.
fn coerce(definitions: &[Positioned<VariableDefinition>], given: &Json) -> Run<Map<String, Json>> {
    let mut variables = Map::new();
    for definition in definitions {
        let VariableDefinition { name, var_type, default_value, .. } = &definition.node;
        let (name, kind) = (name.node.as_str(), &var_type.node);
        let default = default_value.as_ref().and_then(|v| v.node.clone().into_json().ok());
        let value = given.get(name).cloned().or(default).unwrap_or_default();
        if value.is_null() {
            if !kind.nullable {
                let wrong = match given.get(name) {
                    Some(_) => format!("of non-null type '{kind}' must not be null."),
                    None => format!("of required type '{kind}' was not provided."),
                };
                let message = format!("Variable '${name}' {wrong}");
                return Err(Error::at(message, definition.pos));
            }
            continue;
        }
        check_value(kind, &value, name).map_err(|wrong| {
            Error::at(format!("Variable '${name}' got invalid value {wrong}"), definition.pos)
        })?;
        variables.insert(name.into(), value);
    }
    Ok(variables)
}

/// # Errors
/// The value, where it is, and what is wrong with it.
fn check_value(kind: &Type, value: &Json, name: &str) -> Result<(), String> {
    match &kind.base {
        BaseType::List(kind) => {
            let mut items = value.as_array().into_iter().flatten();
            items.try_for_each(|item| check_value(kind, item, name))
        }
        BaseType::Named(base) => match (base.as_str(), value) {
            ("UUID", Json::String(text)) if text.parse::<Uuid>().is_err() => Err(format!(
                "'{text}'; Value cannot represent a UUID: \"{text}\". badly formed hexadecimal \
                 UUID string"
            )),
            ("EventToken", Json::String(text)) if read_token(text).is_none() => {
                Err(format!("'{text}'; Expected type 'EventToken'. Could not parse EventToken"))
            }
            ("Int", Json::Number(number)) => whole(number, ""),
            ("EventSendInput", Json::Object(input)) => match input.get("priority") {
                Some(Json::Number(number)) => whole(number, &format!(" at '{name}.priority'")),
                _ => Ok(()),
            },
            _ => Ok(()),
        },
    }
}

fn whole(number: &serde_json::Number, at: &str) -> Result<(), String> {
    let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
    match fits {
        true => Ok(()),
        false => Err(format!(
            "{number}{at}; Int cannot represent non 32-bit signed integer value: {number}"
        )),
    }
}
