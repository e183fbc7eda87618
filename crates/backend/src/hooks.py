"""Runs one hook of a build backend (PEP 517) and writes what it returned to a file.

The one argument is a JSON document: source, backend, backend-path, hook, arguments, answer.
"""
import importlib
import json
import os
import sys

request = json.loads(sys.argv[1])
source = request["source"]
os.chdir(source)

in_tree = [os.path.normpath(os.path.join(source, path)) for path in request["backend-path"]]
sys.path[0:0] = in_tree
name, _, attribute = request["backend"].partition(":")
module = importlib.import_module(name)
if in_tree:
    file = os.path.realpath(module.__file__ or os.path.join(list(module.__path__)[0], "__init__.py"))
    if not any(file.startswith(os.path.realpath(path) + os.sep) for path in in_tree):
        sys.exit("the backend %s was found at %s, which is not in its backend-path" % (name, file))
backend = module
for part in filter(None, attribute.split(".")):
    backend = getattr(backend, part)

hook = getattr(backend, request["hook"], None)
if hook is None:
    if request["required"]:
        sys.exit("the backend %s has no %s" % (request["backend"], request["hook"]))
    answer = {"missing": True}
else:
    answer = {"returned": hook(*request["arguments"])}
with open(request["answer"], "w", encoding="utf-8") as out:
    json.dump(answer, out)
