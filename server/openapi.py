#!/usr/bin/env python3
"""Writes server/openapi.json, what GET /openapi.json answers: every route kith knows, the API it is
compatible with and its own, as OpenAPI 3.1. Run by `make openapi`; `make check` says when that was
forgotten, and a unit test when a row of server/routes.c is not here or a row here not there.

Replies are closed (no key that is not listed), requests are open where the API ignores unknown keys.
The end-to-end tests validate every request and reply they make against it: tests/lib/contract.py.

A new route: a row in ROUTES (or PLAIN); its parameters and errors follow from the row."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- schemas in few words ----

def ref(name):
    return {"$ref": "#/components/schemas/" + name}


def array(items, **more):
    return dict({"type": "array", "items": items}, **more)


def table(values):
    return {"type": "object", "additionalProperties": values}


def any_of(*schemas):
    return {"anyOf": list(schemas)}


def words(*values):
    return {"type": "string", "enum": list(values)}


def maybe(schema):
    return any_of(schema, NULL)


def obj(required=(), optional=(), closed=False, **fields):
    """An object; null equals absent in fields that are not required, unless it is closed (a reply)."""
    properties = {}
    for name, schema in fields.items():
        name = name.rstrip("_")
        properties[name] = schema if closed or name in required else maybe(schema)
    out = {"type": "object", "properties": properties}
    if required:
        out["required"] = list(required)
    if closed:
        out["additionalProperties"] = False
    return out


def reply(required=(), **fields):
    return obj(required, closed=True, **fields)


def one_at_least(schema, *names):
    return dict(schema, anyOf=[{"required": [name]} for name in names])


def least(minimum, type_=None):
    return dict(type_ or {"type": "integer"}, minimum=minimum)


def between_integers(low, high):
    return {"type": "integer", "minimum": low, "maximum": high}


def between(low, high):
    return {"type": "number", "minimum": low, "maximum": high}


def kind(name, **options):
    """A payload index with options; null equals absent in them."""
    return obj(["type"], type=words(name), on_disk=BOOL, memory=ref("Memory"), enable_hnsw=BOOL, **options)


NULL = {"type": "null"}
BOOL = {"type": "boolean"}
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
COUNT = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}
ANY = {}
OBJECT = {"type": "object"}
FLOATS = array(NUMBER)
MSE_BITS = words("bits1", "bits1_5", "bits2", "bits4")
CODE_BITS = words("bits1", "bits1_5", "bits2", "bits4", "bits8")
STORED = dict(always_ram=BOOL, memory={"$ref": "#/components/schemas/Memory"})
FIELD_KIND = words("keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid")

SCHEMAS = {
    "Id": any_of({"type": "integer", "minimum": 0, "maximum": 2**64 - 1}, {"type": "string", "description": "a UUID"}),
    "Payload": OBJECT,
    "SparseVector": {"type": "object", "required": ["indices", "values"], "additionalProperties": False,
                     "properties": {"indices": array({"type": "integer", "minimum": 0, "maximum": 2**32 - 1}), "values": FLOATS}},
    "Vector": any_of(FLOATS, array(FLOATS), ref("SparseVector")),
    "VectorStruct": any_of(FLOATS, array(FLOATS), table(ref("Vector"))),
    "PointVectorStruct": any_of(FLOATS, array(FLOATS), table(maybe(ref("Vector")))),
    "VectorInput": any_of(FLOATS, array(FLOATS), ref("SparseVector"), ref("Id")),

    # filters
    "Conditions": any_of(ref("Condition"), array(ref("Condition")), NULL),
    "Filter": {"type": "object", "additionalProperties": False, "properties": {
        "must": ref("Conditions"), "must_not": ref("Conditions"), "should": ref("Conditions"),
        "min_should": maybe(obj(["conditions", "min_count"], conditions=array(ref("Condition")), min_count=POSITIVE))}},
    "GeoPoint": obj(["lon", "lat"], lon=NUMBER, lat=NUMBER),
    "Range": obj(lt=any_of(NUMBER, TEXT), gt=any_of(NUMBER, TEXT), gte=any_of(NUMBER, TEXT), lte=any_of(NUMBER, TEXT)),
    "FieldCondition": obj(
        ["key"], key=TEXT, match=obj(value=any_of(TEXT, INTEGER, BOOL), text=TEXT, text_any=TEXT, phrase=TEXT, prefix=TEXT,
                                     any=array(any_of(TEXT, INTEGER)), except_=array(any_of(TEXT, INTEGER))),
        range=ref("Range"), geo_radius=obj(["center", "radius"], center=ref("GeoPoint"), radius=NUMBER),
        geo_bounding_box=obj(["top_left", "bottom_right"], top_left=ref("GeoPoint"), bottom_right=ref("GeoPoint")),
        geo_polygon=obj(["exterior"], exterior=obj(["points"], points=array(ref("GeoPoint"))),
                        interiors=array(obj(["points"], points=array(ref("GeoPoint"))))),
        values_count=obj(lt=COUNT, gt=COUNT, gte=COUNT, lte=COUNT), is_empty=BOOL, is_null=BOOL),
    "Condition": any_of(
        ref("FieldCondition"), obj(["is_empty"], is_empty=obj(["key"], key=TEXT)), obj(["is_null"], is_null=obj(["key"], key=TEXT)),
        obj(["has_id"], has_id=array(ref("Id"))), obj(["has_vector"], has_vector=TEXT),
        obj(["nested"], nested=obj(["key", "filter"], key=TEXT, filter=ref("Filter"))),
        obj(["slice"], slice=obj(["total", "index"], total=POSITIVE, index=COUNT)), ref("Filter")),

    # what to show
    "WithPayload": any_of(BOOL, array(TEXT), obj(["include"], include=array(TEXT)), obj(["exclude"], exclude=array(TEXT))),
    "WithVector": any_of(BOOL, array(TEXT)),

    # points
    "PointStruct": obj(["id"], id=ref("Id"), vector=ref("PointVectorStruct"), vectors=ref("PointVectorStruct"), payload=ref("Payload")),
    "Record": reply(["id"], id=ref("Id"), payload=ref("Payload"), vector=ref("VectorStruct"), order_value=NUMBER),
    "ScoredPoint": reply(["id", "version", "score"], id=ref("Id"), version=COUNT, score=NUMBER, payload=ref("Payload"),
                         vector=ref("VectorStruct"), order_value=NUMBER),
    "UpdateResult": reply(["operation_id", "status"], operation_id=COUNT, status=words("completed", "acknowledged", "wait_timeout")),
    "UpdateMode": words("upsert", "insert_only", "update_only"),
    "PointsColumns": obj(["ids", "vectors"], ids=array(ref("Id")), payloads=array(maybe(ref("Payload"))),
                         vectors=any_of(array(FLOATS), array(array(FLOATS)), table(array(ref("Vector"))))),
    "Upsert": one_at_least(obj(points=array(ref("PointStruct")), batch=ref("PointsColumns"), update_filter=ref("Filter"),
                               update_mode=ref("UpdateMode")), "points", "batch"),
    "PointsSelector": one_at_least(obj(points=array(ref("Id")), filter=ref("Filter")), "points", "filter"),
    "SetPayload": obj(["payload"], payload=ref("Payload"), points=array(ref("Id")), filter=ref("Filter"), key=TEXT),
    "DeletePayload": obj(["keys"], keys=array(TEXT), points=array(ref("Id")), filter=ref("Filter")),
    "UpdateVectors": obj(["points"], points=array(obj(["id", "vector"], id=ref("Id"), vector=ref("PointVectorStruct"))),
                         update_filter=ref("Filter")),
    "DeleteVectors": obj(["vector"], vector=array(TEXT, minItems=1), points=array(ref("Id")), filter=ref("Filter")),
    "UpdateOperation": any_of(*[obj([name], **{name: ref(schema)}) for name, schema in (
        ("upsert", "Upsert"), ("delete", "PointsSelector"), ("set_payload", "SetPayload"), ("overwrite_payload", "SetPayload"),
        ("delete_payload", "DeletePayload"), ("clear_payload", "PointsSelector"), ("update_vectors", "UpdateVectors"),
        ("delete_vectors", "DeleteVectors"))]),

    # queries
    "SearchParams": obj(hnsw_ef=POSITIVE, exact=BOOL, indexed_only=BOOL, acorn=OBJECT, idf=any_of(TEXT, OBJECT),
                        quantization=obj(ignore=BOOL, rescore=BOOL, oversampling={"type": "number", "minimum": 1})),
    "LookupLocation": obj(["collection"], collection=TEXT, vector=TEXT),
    "ContextPair": obj(["positive", "negative"], positive=ref("VectorInput"), negative=ref("VectorInput")),
    "ContextPairs": any_of(ref("ContextPair"), array(ref("ContextPair"))),
    "Strategy": words("average_vector", "best_score", "sum_scores"),
    "RecommendInput": obj(positive=array(ref("VectorInput")), negative=array(ref("VectorInput")), strategy=ref("Strategy")),
    "OrderBy": any_of(TEXT, obj(["key"], key=TEXT, direction=words("asc", "desc"), start_from=any_of(NUMBER, TEXT))),
    "Decay": obj(["x"], x=ref("Expression"), target=ref("Expression"), scale=NUMBER, midpoint=NUMBER),
    "Expression": any_of(
        NUMBER, TEXT, obj(["sum"], sum=array(ref("Expression"))), obj(["mult"], mult=array(ref("Expression"))),
        obj(["max"], max=array(ref("Expression"))), obj(["min"], min=array(ref("Expression"))),
        *[obj([name], **{name: ref("Expression")}) for name in ("neg", "abs", "sqrt", "exp", "log10", "ln", "acosh")],
        obj(["div"], div=obj(["left", "right"], left=ref("Expression"), right=ref("Expression"), by_zero_default=NUMBER)),
        obj(["pow"], pow=obj(["base", "exponent"], base=ref("Expression"), exponent=ref("Expression"))),
        obj(["geo_distance"], geo_distance=obj(["origin", "to"], origin=ref("GeoPoint"), to=TEXT)),
        obj(["datetime"], datetime=TEXT), obj(["datetime_key"], datetime_key=TEXT),
        *[obj([name], **{name: ref("Decay")}) for name in ("lin_decay", "exp_decay", "gauss_decay")], ref("Condition")),
    "Query": any_of(
        ref("VectorInput"),
        obj(["nearest"], nearest=ref("VectorInput"), mmr=obj(diversity={"type": "number", "minimum": 0, "maximum": 1},
                                                             candidates_limit={"type": "integer", "minimum": 0, "maximum": 16384})),
        obj(["recommend"], recommend=ref("RecommendInput")),
        obj(["discover"], discover=obj(["target"], target=ref("VectorInput"), context=ref("ContextPairs"))),
        obj(["context"], context=ref("ContextPairs")), obj(["order_by"], order_by=ref("OrderBy")),
        obj(["fusion"], fusion=words("rrf", "dbsf")), obj(["rrf"], rrf=obj(k=POSITIVE, weights=FLOATS)),
        obj(["formula"], formula=ref("Expression"), defaults=OBJECT), obj(["sample"], sample=words("random"))),
    "Prefetches": any_of(ref("Prefetch"), array(ref("Prefetch"))),
    "WithLookup": any_of(TEXT, obj(["collection"], collection=TEXT, with_payload=ref("WithPayload"), with_vectors=ref("WithVector"),
                                   with_vector=ref("WithVector"))),
    "QueryReply": reply(["points"], points=array(ref("ScoredPoint")), degraded=BOOL),
    "GroupsReply": reply(["groups"], degraded=BOOL, groups=array(reply(
        ["id", "hits"], id=any_of(TEXT, INTEGER), hits=array(ref("ScoredPoint")), lookup=maybe(ref("Record"))))),

    # collections
    "Distance": words("Cosine", "Euclid", "Dot", "Manhattan"),
    "Memory": {"description": "stored and echoed"},
    "Metadata": {"type": "object", "additionalProperties": True, "description": "stored and echoed, but for `kith`", "properties": {
        "kith": maybe({"type": "object", "additionalProperties": False, "properties": {
            "expire_field": maybe({"type": "string", "description": "path of a payload field: points are deleted when their time has come"}),
            "string_ids": maybe({"type": "boolean", "description": "ids are numbers and any strings; for the life of the collection"})}})}},
    "HnswConfig": obj(m=COUNT, ef_construct=least(4), full_scan_threshold=least(10), full_scan_threshold_kb=least(10),
                      max_indexing_threads=COUNT, on_disk=BOOL, payload_m=COUNT, inline_storage=BOOL, memory=ref("Memory")),
    "Quantization": any_of(
        obj(["scalar"], scalar=obj(["type"], type=words("int8"), quantile=between(0.5, 1), **STORED)),
        obj(["product"], product=obj(["compression"], compression=words("x4", "x8", "x16", "x32", "x64"), **STORED)),
        obj(["binary"], binary=obj(encoding=words("one_bit", "two_bits", "one_and_half_bits"), **STORED,
                                   query_encoding=words("default", "binary", "scalar4bits", "scalar8bits"))),
        obj(["turbo"], turbo=obj(bits=CODE_BITS, **STORED)), obj(["turboquant_mse"], turboquant_mse=obj(bits=MSE_BITS, **STORED))),
    "QuantizationChange": any_of(ref("Quantization"), words("Disabled")),
    "OptimizersConfig": obj(deleted_threshold=between(0, 1), vacuum_min_vector_number=least(100), default_segment_number=COUNT,
                            max_segment_size=POSITIVE, max_segment_size_kb=POSITIVE, memmap_threshold=COUNT, memmap_threshold_kb=COUNT,
                            indexing_threshold=COUNT, indexing_threshold_kb=COUNT, flush_interval_sec=COUNT,
                            max_optimization_threads=any_of(COUNT, words("auto")), prevent_unoptimized=BOOL),
    "WalConfig": obj(wal_capacity_mb=POSITIVE, wal_segments_ahead=COUNT, wal_retain_closed=POSITIVE),
    "StrictModeConfig": obj(
        enabled=BOOL, unindexed_filtering_retrieve=BOOL, unindexed_filtering_update=BOOL, search_allow_exact=BOOL,
        search_max_oversampling=least(0, NUMBER), multivector_config=OBJECT, sparse_config=OBJECT, max_payload_index_count=COUNT,
        max_resident_memory_percent={"type": "integer", "minimum": 1, "maximum": 100},
        **{name: POSITIVE for name in (
            "max_query_limit", "max_timeout", "search_max_hnsw_ef", "upsert_max_batchsize", "search_max_batchsize",
            "max_collection_vector_size_bytes", "read_rate_limit", "write_rate_limit", "max_collection_payload_size_bytes",
            "max_points_count", "filter_max_conditions", "condition_max_size")}),
    "Datatype": words("float32", "float16", "uint8", "turbo4"),
    "VectorParams": obj(["size", "distance"], size={"type": "integer", "minimum": 1, "maximum": 65536}, distance=ref("Distance"),
                        hnsw_config=ref("HnswConfig"), quantization_config=ref("Quantization"), quantization=ref("Quantization"),
                        on_disk=BOOL, memory=ref("Memory"), datatype=ref("Datatype"),
                        multivector_config=obj(["comparator"], comparator=words("max_sim"))),
    "SparseVectorParams": obj(index=obj(full_scan_threshold=COUNT, on_disk=BOOL, datatype=ref("Datatype"), memory=ref("Memory")),
                              modifier=words("none", "idf")),
    "VectorsConfig": any_of(ref("VectorParams"), table(ref("VectorParams"))),
    "SparseVectorsConfig": table(maybe(ref("SparseVectorParams"))),
    "CreateCollection": obj(vectors=ref("VectorsConfig"), sparse_vectors=ref("SparseVectorsConfig"), shard_number=POSITIVE,
                            shards_number=POSITIVE, replication_factor=POSITIVE, write_consistency_factor=POSITIVE,
                            sharding_method=words("auto"), on_disk_payload=BOOL, payload=ref("Memory"), hnsw_config=ref("HnswConfig"),
                            wal_config=ref("WalConfig"), optimizers_config=ref("OptimizersConfig"),
                            optimizer_config=ref("OptimizersConfig"), quantization_config=ref("Quantization"),
                            quantization=ref("Quantization"), strict_mode_config=ref("StrictModeConfig"), metadata=ref("Metadata")),
    "UpdateCollection": obj(vectors=table(obj(hnsw_config=ref("HnswConfig"), quantization_config=ref("QuantizationChange"),
                                              quantization=ref("QuantizationChange"), on_disk=BOOL, memory=ref("Memory"))),
                            params=obj(replication_factor=POSITIVE, write_consistency_factor=POSITIVE, read_fan_out_factor=COUNT,
                                       read_fan_out_delay_ms=COUNT, on_disk_payload=BOOL, payload=ref("Memory")),
                            hnsw_config=ref("HnswConfig"), optimizers_config=ref("OptimizersConfig"),
                            optimizer_config=ref("OptimizersConfig"), quantization_config=ref("QuantizationChange"),
                            quantization=ref("QuantizationChange"), sparse_vectors=ref("SparseVectorsConfig"),
                            strict_mode_config=ref("StrictModeConfig"), metadata=ref("Metadata")),
    "CollectionInfo": reply(
        ["status", "optimizer_status", "segments_count", "config", "payload_schema", "points_count", "indexed_vectors_count", "update_queue", "codes"],
        status=words("green", "yellow", "grey", "red"), optimizer_status=words("ok"), segments_count=COUNT, points_count=COUNT,
        indexed_vectors_count=COUNT, codes=table(reply(
            ["first_stage", "second_stage", "scale"], first_stage=TEXT, second_stage=maybe(TEXT), scale=words("eden", "turboquant_mse"))),
        update_queue=reply(["length"], length=COUNT),
        payload_schema=table(reply(["data_type", "points"], data_type=FIELD_KIND, params=ref("FieldSchema"), points=COUNT)),
        config=reply(
            ["params", "hnsw_config", "optimizer_config", "wal_config", "quantization_config"],
            params=reply(["vectors", "shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload"],
                         vectors=ref("VectorsConfig"), sparse_vectors=ref("SparseVectorsConfig"), shard_number=POSITIVE,
                         sharding_method=words("auto"), replication_factor=POSITIVE, write_consistency_factor=POSITIVE,
                         read_fan_out_factor=COUNT, read_fan_out_delay_ms=COUNT, on_disk_payload=BOOL, payload=ref("Memory")),
            hnsw_config=ref("HnswConfig"), optimizer_config=ref("OptimizersConfig"), wal_config=ref("WalConfig"),
            quantization_config=maybe(ref("Quantization")), strict_mode_config=ref("StrictModeConfig"), metadata=maybe(ref("Metadata")))),
    "AliasAction": any_of(
        obj(["create_alias"], create_alias=obj(["collection_name", "alias_name"], collection_name=TEXT, alias_name=TEXT)),
        obj(["delete_alias"], delete_alias=obj(["alias_name"], alias_name=TEXT)),
        obj(["rename_alias"], rename_alias=obj(["old_alias_name", "new_alias_name"], old_alias_name=TEXT, new_alias_name=TEXT))),
    "Aliases": reply(["aliases"], aliases=array(reply(["alias_name", "collection_name"], alias_name=TEXT, collection_name=TEXT))),
    "FieldSchema": any_of(
        FIELD_KIND,
        kind("keyword", is_tenant=BOOL, prefix=BOOL), kind("integer", lookup=BOOL, range=BOOL, is_principal=BOOL),
        kind("float", is_principal=BOOL), kind("datetime", is_principal=BOOL), kind("uuid", is_tenant=BOOL), kind("geo"), kind("bool"),
        kind("text", tokenizer=words("prefix", "whitespace", "word", "multilingual"), min_token_len=COUNT, max_token_len=COUNT,
             lowercase=BOOL, ascii_folding=BOOL, phrase_matching=BOOL, stopwords=any_of(TEXT, obj(
                 languages=array(TEXT), custom=array(TEXT))), stemmer=obj(["type", "language"], type=words("snowball"), language=TEXT))),
    "BulkReply": reply(["points", "batches", "seconds", "bytes"], points=COUNT, batches=COUNT, seconds=NUMBER, bytes=COUNT),
}

NODE = dict(query=ref("Query"), using=TEXT, filter=ref("Filter"), params=ref("SearchParams"), score_threshold=NUMBER,
            lookup_from=ref("LookupLocation"), prefetch=ref("Prefetches"))
SHOWN = dict(with_payload=ref("WithPayload"), with_vector=ref("WithVector"), with_vectors=ref("WithVector"))
LEGACY = dict(filter=ref("Filter"), params=ref("SearchParams"), score_threshold=NUMBER, limit=POSITIVE, top=POSITIVE, offset=COUNT,
              using=TEXT, lookup_from=ref("LookupLocation"), **SHOWN)
GROUPED = dict(group_by=TEXT, group_size=POSITIVE, with_lookup=ref("WithLookup"))
NAMED = any_of(FLOATS, array(FLOATS), obj(["vector"], name=TEXT, vector=ref("Vector")))


def without(fields, *names):
    return {k: v for k, v in fields.items() if k not in names}


SCHEMAS.update({
    "Prefetch": obj(limit=POSITIVE, **NODE),
    "QueryRequest": obj(limit=POSITIVE, offset=COUNT, **NODE, **SHOWN),
    "QueryGroupsRequest": obj(["group_by"], limit=POSITIVE, **NODE, **SHOWN, **GROUPED),
    "SearchRequest": obj(["vector"], vector=NAMED, **LEGACY),
    "SearchGroupsRequest": obj(["vector", "group_by"], vector=NAMED, **without(LEGACY, "offset"), **GROUPED),
    "RecommendRequest": obj(positive=array(ref("VectorInput")), negative=array(ref("VectorInput")), strategy=ref("Strategy"), **LEGACY),
    "RecommendGroupsRequest": obj(["group_by"], positive=array(ref("VectorInput")), negative=array(ref("VectorInput")),
                                  strategy=ref("Strategy"), **without(LEGACY, "offset"), **GROUPED),
    "DiscoverRequest": obj(target=ref("VectorInput"), context=ref("ContextPairs"), **LEGACY),
})


# ---- routes ----

C = "/collections/{collection_name}"
P = C + "/points"
S = C + "/snapshots"
SHARD = C + "/shards/{shard_id}"
TIMEOUT = ("timeout", POSITIVE, "seconds after which the work is stopped: 408")
READ = [("consistency", any_of(POSITIVE, words("majority", "quorum", "all")), "checked; one node has no choice"), TIMEOUT]
WRITE = [("wait", BOOL, "true: the reply says `completed` instead of `acknowledged`; the change is durable either way"),
         ("ordering", words("weak", "medium", "strong"), "checked; one node has no choice"), TIMEOUT]
SETTING = [TIMEOUT]
RECALL = [("recall", between(0.5, 1), "share of the true nearest to expect; 1 is an exact scan (kith's own)")]
QUERY = READ + RECALL
FIGURES = [("anonymize", BOOL, ""), ("per_collection", BOOL, "")]
searches = lambda schema: obj(["searches"], searches=array(ref(schema)))  # noqa: E731
hits = array(ref("ScoredPoint"))
matrix = obj(filter=ref("Filter"), sample=least(2), limit=POSITIVE, using=TEXT)

# (method, path, tag, summary, parameters, request schema or None, schema of the reply's `result`)
ROUTES = [
    ("get", "/collections", "collections", "Names of all collections", [], None,
     reply(["collections"], collections=array(reply(["name"], name=TEXT)))),
    ("get", C, "collections", "Settings and counts of a collection", [], None, ref("CollectionInfo")),
    ("put", C, "collections", "Create a collection", SETTING, ref("CreateCollection"), BOOL),
    ("patch", C, "collections", "Change settings of a collection", SETTING, ref("UpdateCollection"), BOOL),
    ("delete", C, "collections", "Delete a collection; false if there was none", SETTING, None, BOOL),
    ("get", C + "/exists", "collections", "Is there a collection or alias of this name?", [], None, reply(["exists"], exists=BOOL)),
    ("get", C + "/optimizations", "collections", "What is being optimized: nothing ever is", [
        ("with", TEXT, "comma-separated: queued, completed, idle_segments")], None,
     reply(["summary", "running"], running=array(OBJECT), queued=array(OBJECT), completed=array(OBJECT), idle_segments=array(OBJECT),
           summary=reply(["queued_optimizations", "queued_segments", "queued_points", "idle_segments"], queued_optimizations=COUNT,
                         queued_segments=COUNT, queued_points=COUNT, idle_segments=COUNT))),
    ("get", C + "/aliases", "aliases", "Aliases of a collection", [], None, ref("Aliases")),
    ("get", "/aliases", "aliases", "All aliases", [], None, ref("Aliases")),
    ("post", "/collections/aliases", "aliases", "Change aliases, all of the actions or none", SETTING,
     obj(["actions"], actions=array(ref("AliasAction"))), BOOL),
    ("put", C + "/index", "indexes", "Create a payload index", WRITE,
     obj(["field_name"], field_name=TEXT, field_schema=ref("FieldSchema"), field_type=ref("FieldSchema")), ref("UpdateResult")),
    ("delete", C + "/index/{field_name}", "indexes", "Drop a payload index", WRITE, None, ref("UpdateResult")),

    ("post", C + "/compact", "kith", "Give back the space of what was deleted; wait=true answers at the end", WRITE, None, reply(
        ["status"], status=words("completed", "acknowledged"), bytes_before=COUNT, bytes_after=COUNT)),
    ("put", C + "/vectors/{vector_name}", "collections", "Add a vector to a collection in use", WRITE,
     any_of(obj(["dense"], dense=ref("VectorParams"), sparse=NULL), obj(["sparse"], sparse=ref("SparseVectorParams"), dense=NULL)), ref("UpdateResult")),
    ("delete", C + "/vectors/{vector_name}", "collections", "Remove a vector from a collection in use", WRITE, None, ref("UpdateResult")),

    ("put", P, "points", "Insert points or replace them", WRITE, ref("Upsert"), ref("UpdateResult")),
    ("post", P, "points", "Points by id", READ, obj(["ids"], ids=array(ref("Id")), **SHOWN), array(ref("Record"))),
    ("get", P + "/{id}", "points", "One point", READ, None, ref("Record")),
    ("post", P + "/delete", "points", "Delete points by id or filter", WRITE, ref("PointsSelector"), ref("UpdateResult")),
    ("put", P + "/vectors", "points", "Replace some vectors of points", WRITE, ref("UpdateVectors"), ref("UpdateResult")),
    ("post", P + "/vectors/delete", "points", "Delete some vectors of points", WRITE, ref("DeleteVectors"), ref("UpdateResult")),
    ("post", P + "/payload", "points", "Merge into payloads", WRITE, ref("SetPayload"), ref("UpdateResult")),
    ("put", P + "/payload", "points", "Replace payloads", WRITE, ref("SetPayload"), ref("UpdateResult")),
    ("post", P + "/payload/delete", "points", "Delete keys of payloads", WRITE, ref("DeletePayload"), ref("UpdateResult")),
    ("post", P + "/payload/clear", "points", "Empty payloads", WRITE, ref("PointsSelector"), ref("UpdateResult")),
    ("post", P + "/batch", "points", "Several updates in one transaction", WRITE,
     obj(["operations"], operations=array(ref("UpdateOperation"))), array(ref("UpdateResult"))),
    ("post", P + "/scroll", "points", "Points page by page, by id or by a field", READ,
     obj(offset=ref("Id"), limit=POSITIVE, filter=ref("Filter"), order_by=ref("OrderBy"), **SHOWN),
     reply(["points", "next_page_offset"], points=array(ref("Record")), next_page_offset=maybe(ref("Id")))),
    ("post", P + "/count", "points", "How many points match", READ, obj(filter=ref("Filter"), exact=BOOL), reply(["count"], count=COUNT)),
    ("post", C + "/facet", "points", "How often each value of a field is there", READ,
     obj(["key"], key=TEXT, limit=POSITIVE, filter=ref("Filter"), exact=BOOL),
     reply(["hits"], hits=array(reply(["value", "count"], value=any_of(TEXT, INTEGER, BOOL), count=COUNT)))),

    ("post", P + "/query", "search", "Query: nearest, recommend, discover, fusion, formula, ...", QUERY, ref("QueryRequest"), ref("QueryReply")),
    ("post", P + "/query/batch", "search", "Several queries", QUERY, searches("QueryRequest"), array(ref("QueryReply"))),
    ("post", P + "/query/groups", "search", "Query, hits by the value of a field", QUERY, ref("QueryGroupsRequest"), ref("GroupsReply")),
    ("post", P + "/search/matrix/pairs", "search", "Distances within a sample, as pairs", READ,
     matrix,
     reply(["pairs"], pairs=array(reply(["a", "b", "score"], a=ref("Id"), b=ref("Id"), score=NUMBER)))),
    ("post", P + "/search/matrix/offsets", "search", "Distances within a sample, as a sparse matrix", READ,
     matrix,
     reply(["offsets_row", "offsets_col", "scores", "ids"], offsets_row=array(COUNT), offsets_col=array(COUNT), scores=FLOATS,
           ids=array(ref("Id")))),
    ("post", P + "/search", "older", "Nearest to a vector", QUERY, ref("SearchRequest"), hits),
    ("post", P + "/search/batch", "older", "Several searches", QUERY, searches("SearchRequest"), array(hits)),
    ("post", P + "/search/groups", "older", "Search, hits by the value of a field", QUERY, ref("SearchGroupsRequest"), ref("GroupsReply")),
    ("post", P + "/recommend", "older", "Near some examples, far from others", QUERY, ref("RecommendRequest"), hits),
    ("post", P + "/recommend/batch", "older", "Several of these", QUERY, searches("RecommendRequest"), array(hits)),
    ("post", P + "/recommend/groups", "older", "Recommend, hits by the value of a field", QUERY, ref("RecommendGroupsRequest"),
     ref("GroupsReply")),
    ("post", P + "/discover", "older", "Near a target, within pairs of examples", QUERY, ref("DiscoverRequest"), hits),
    ("post", P + "/discover/batch", "older", "Several of these", QUERY, searches("DiscoverRequest"), array(hits)),

    ("get", C + "/recall", "kith", "What sampled queries of the last minutes got", [
        ("minutes", between_integers(1, 1440), "default 15"), TIMEOUT], None,
     reply(["minutes", "vectors"], minutes=COUNT, vectors=table(reply(
         ["sampled"], sampled=BOOL, queries=COUNT, sampled_every=COUNT, waiting=COUNT, learnt_from=maybe(reply(
             ["codes", "points", "copies", "live_queries"], codes=COUNT, points=COUNT, copies=COUNT, live_queries=COUNT)),
         got=array(reply(["asked", "queries", "recall", "low", "high"], asked=NUMBER, queries=COUNT, recall=NUMBER, low=NUMBER,
                         high=NUMBER)))))),
    ("post", C + "/recall", "kith", "Run searches as asked and exactly, and compare", QUERY, searches("QueryRequest"),
     reply(["asked", "queries", "recall", "low", "high", "lowest", "searches"], asked=NUMBER, queries=COUNT, recall=NUMBER, low=NUMBER,
           high=NUMBER, lowest=NUMBER, searches=array(reply(["found", "of"], found=COUNT, of=COUNT)))),

    ("get", "/telemetry", "service", "What this server is and holds", FIGURES + [
        ("details_level", COUNT, ""), TIMEOUT], None, reply(
            ["id", "app", "collections", "kith"], id=TEXT, app=reply(["name", "version", "startup"], name=TEXT, version=TEXT, startup=TEXT),
            collections=reply(["number_of_collections"], number_of_collections=COUNT),
            kith=reply(["name", "version"], name=TEXT, version=TEXT))),
    ("get", "/cluster", "service", "One node: disabled", [], None, reply(["status"], status=words("disabled"))),
    ("get", "/issues", "service", "No issues", [], None, reply(["issues"], issues=array(OBJECT, maxItems=0))),
    ("delete", "/issues", "service", "Clear issues", [], None, BOOL),
    ("get", "/quotas", "service", "Quotas: none are enforced", [], None, reply(
        ["config", "usage"], config=reply(["enabled"], enabled=BOOL),
        usage=reply(["resident_memory_percent", "disk_usage_percent"], resident_memory_percent=maybe(NUMBER),
                    disk_usage_percent=maybe(NUMBER)))),
    ("put", "/quotas", "service", "Change quotas; enabling them is refused", [], obj(
        enabled=BOOL, max_resident_memory_percent=COUNT, max_disk_usage_percent=COUNT, release_margin_percent=COUNT), BOOL),
]

EXPORT = READ + [
    ("format", words("ndjson", "npy"), "default ndjson"), ("with_payload", BOOL, "ndjson"), ("with_vector", BOOL, "ndjson"),
    ("vector", TEXT, "npy: the name of the vector; points without it are left out"),
    ("with_ids", BOOL, "npy: the ids follow as a second array, uint64 if all are numbers, else bytes")]
EXPORT_TYPES = {"application/x-ndjson": {}, "application/x-npy": {}}

# Replies that are no envelope: (method, path, tag, summary, parameters, {content type: schema or None}, open without a key)
PLAIN = [
    ("get", "/", "service", "Version, as clients ask for it", [], {"application/json": reply(
        ["title", "version", "commit"], title=TEXT, version=TEXT, commit=TEXT)}, True),
    ("get", "/healthz", "service", "Is the process alive?", [], {"text/plain": None}, True),
    ("get", "/livez", "service", "Is the process alive?", [], {"text/plain": None}, True),
    ("get", "/readyz", "service", "Does it take requests? 503 if not", [], {"text/plain": None}, True),
    ("get", "/metrics", "service", "Figures for Prometheus", FIGURES + [TIMEOUT], {"text/plain": None}, False),
    ("get", C + "/export", "kith", "All points: lines of JSON as bulk takes them, or a matrix (format=npy)", EXPORT, EXPORT_TYPES, False),
    ("get", "/openapi.json", "kith", "This document; gzip and If-None-Match are understood", [], {"application/json": {
        "type": "object", "required": ["openapi", "info", "paths"]}}, True),
]

# Whose answers are also given as matrices, to those who ask by Accept.
AS_NPY = [C + "/points", C + "/points/scroll", C + "/points/query"]

BULK_TYPES = ["application/x-ndjson", "application/x-npy", "application/octet-stream"]
BULK = [("first_id", COUNT, "id of the first row of a matrix; default: the next free one"),
        ("distance", ref("Distance"), "create the collection if it is missing"),
        ("dim", between_integers(1, 65536), "numbers a row, for application/octet-stream: rows of little-endian float32")]

# Known to the compatible API, not built: answered with 501.
UNBUILT = [("get", S), ("post", S), ("get", S + "/{snapshot_name}"), ("delete", S + "/{snapshot_name}"), ("put", S + "/recover"),
           ("post", S + "/upload"), ("get", "/snapshots"), ("post", "/snapshots"), ("get", "/snapshots/{snapshot_name}"),
           ("delete", "/snapshots/{snapshot_name}")]

# Need a cluster: answered with 405.
CLUSTER = [("get", C + "/cluster"), ("post", C + "/cluster"), ("get", C + "/shards"), ("put", C + "/shards"),
           ("post", C + "/shards/delete"), ("get", "/cluster/telemetry"), ("post", "/cluster/recover"), ("delete", "/cluster/peer/{peer_id}"),
           ("get", SHARD + "/snapshots"), ("post", SHARD + "/snapshots"), ("get", SHARD + "/snapshot"),
           ("get", SHARD + "/snapshots/{snapshot_name}"), ("delete", SHARD + "/snapshots/{snapshot_name}"),
           ("put", SHARD + "/snapshots/recover"), ("post", SHARD + "/snapshots/upload")]

# ---- errors: status, when, how its text begins ----

ERRORS = [
    (400, "wrong input", "(Wrong input|Bad request|Format error in JSON body|Deserialize error in query parameters): "),
    (401, "no key, or a wrong one; plain text", None),
    (403, "the key may only read", "Forbidden: "),
    (404, "no such collection, point or route", "Not found: "),
    (405, "the path does not know this method, or needs a cluster", "Bad request: "),
    (408, "the work, or the body, took longer than it may", "Timeout: "),
    (409, "there is one already", "(Wrong input|Conflict): "),
    (413, "the body is too large", "(Wrong input|Bad request|Payload error): "),
    (415, "Content-Type or Content-Encoding is not understood", "Bad request: "),
    (422, "a value is out of its range", "Validation error in (JSON body|query parameters|path parameters): \\["),
    (429, "more calls than strict mode allows; see Retry-After", "Rate limiting exceeded: "),
    (500, "a failure of ours, or of the disk", "Service internal error: "),
    (501, "known to the compatible API, not built", "Not implemented: "),
    (503, "too many requests wait, or the server stops; see Retry-After", "(Shard temporarily unavailable|Service unavailable): "),
    (507, "the disk is nearly full", "Insufficient storage: "),
]


def error_replies():
    out = {}
    for status, when, begins in ERRORS:
        schema = TEXT if begins is None else reply(
            ["status", "time"], status=reply(["error"], error={"type": "string", "pattern": "^" + begins}), time=NUMBER,
            **({"accepted": COUNT} if status in (400, 404, 408, 413, 429, 500, 503, 507) else {}))
        out["E%d" % status] = {"description": when, "content": {"text/plain" if begins is None else "application/json": {"schema": schema}}}
    return out


def statuses(method, path, parameters, body):
    """Those that a built route may answer besides 200, as the server's own rules have them."""
    writes = method in ("put", "patch", "delete") or ("wait" in [p[0] for p in parameters]) or path in ("/collections/aliases", C + "/bulk")
    metered = {"wait", "consistency"} & {p[0] for p in parameters}
    out = {400, 401, 500, 503}
    out |= {403} if writes else set()
    out |= {507} if writes and (body or path.startswith(C)) else set()
    out |= {404} if path.startswith(C) or path == "/collections/aliases" else set()
    out |= {409} if path in (C, "/collections/aliases") and body else set()
    out |= {409} if path == C + "/compact" else set()
    out |= {408, 422} if parameters else set()
    out |= {408, 413, 415, 422} if body else set()
    out |= {422} if path == C and method == "put" else set()
    out |= {429} if metered else set()
    return sorted(out)


# ---- the document ----

def parameter(name, schema, text, where="query"):
    out = {"name": name, "in": where, "schema": schema}
    if where == "path":
        out["required"] = True
    if text:
        out["description"] = text
    return out


def path_parameters(path):
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [parameter(name, ref("Id") if name == "id" else TEXT, "", "path") for name in names]


def json_content(schema):
    return {"application/json": {"schema": schema}}


def envelope(result):
    return reply(["result", "status", "time"], result=result, status=words("ok"), time=NUMBER)


def operation(method, path, tag, summary, parameters, errors, content=None):
    name = method + "".join(part.strip("{}").replace("_", " ").title().replace(" ", "").replace(".", "") for part in path.split("/"))
    out = {"operationId": name, "tags": [tag], "summary": summary,
           "parameters": path_parameters(path) + [parameter(*p) for p in parameters], "responses": {}}
    if content is not None:
        out["responses"]["200"] = {"description": "done", "content": content}
    for status in errors:
        out["responses"][str(status)] = {"$ref": "#/components/responses/E%d" % status}
    if not out["parameters"]:
        del out["parameters"]
    return out


def all_paths():
    paths = {}
    put = lambda method, path, made: paths.setdefault(path, {}).__setitem__(method, made)  # noqa: E731
    for method, path, tag, summary, parameters, request, result in ROUTES:
        errors = statuses(method, path, parameters, request is not None)
        made = operation(method, path, tag, summary, parameters, errors, json_content(envelope(result)))
        if request is not None:
            made["requestBody"] = {"content": json_content(request)}
        if method == "post" and path in AS_NPY:
            made["responses"]["200"]["content"]["application/x-npy"] = {"schema": {}}
            made["responses"]["200"]["headers"] = {"X-Kith-Next-Page-Offset": {
                "schema": TEXT, "description": "of a scroll as matrices: where the next page begins, as JSON"}}
        put(method, path, made)
    for method, path, tag, summary, parameters, contents, keyless in PLAIN:
        content = {type_: {"schema": TEXT if type_ == "text/plain" else schema} for type_, schema in contents.items()}
        errors = [400] if keyless else statuses(method, path, parameters, False)
        made = operation(method, path, tag, summary, parameters, errors, content)
        if path == "/readyz":
            made["responses"]["503"] = {"description": "not now; the text says why", "content": content}
        if path == "/openapi.json":
            made["responses"].update({"304": {"description": "the client has this one"}, "503": {"$ref": "#/components/responses/E503"}})
        if keyless:
            made["security"] = [{}]
        put(method, path, made)
    export = operation("post", C + "/export", "kith", "The same of the points of a filter, with selectors as scroll has them", EXPORT,
                       statuses("post", C + "/export", EXPORT, True), {type_: {"schema": {}} for type_ in EXPORT_TYPES})
    export["requestBody"] = {"content": json_content(obj(filter=ref("Filter"), **SHOWN))}
    put("post", C + "/export", export)
    bulk = operation("post", C + "/bulk", "kith", "Points of any number in a stream: lines of JSON, or a matrix as NPY or as raw "
                     "float32", BULK, statuses("post", C + "/bulk", BULK, True), json_content(envelope(ref("BulkReply"))))
    bulk["requestBody"] = {"content": {type_: {} for type_ in BULK_TYPES}}
    put("post", C + "/bulk", bulk)
    for rows, status, tag in ((UNBUILT, 501, "not built"), (CLUSTER, 405, "cluster")):
        for method, path in rows:
            summary = "Not built: answers 501" if status == 501 else "Needs a cluster: answers 405"
            put(method, path, operation(method, path, tag, summary, [], [400, 401, 403, status]))
    return dict(sorted(paths.items()))


def document(version):
    return {
        "openapi": "3.1.0",
        "info": {"title": "kith", "version": version, "description":
                 "A vector search server, wire-compatible with Qdrant's REST API (1.19). Paths tagged `kith` are its own; those tagged "
                 "`older` are no longer in that API's document and still answered; those tagged `not built` and `cluster` are known and "
                 "refused. Bodies may be packed with gzip or zstd (Content-Encoding). Fields that are not listed are ignored in "
                 "requests, except in filters. Null equals absent. Any request may "
                 "also be refused while it is read: 400, 408, 411, 413, 414, 431, 501, 505.",
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "security": [{}, {"api-key": []}, {"bearer": []}],
        "paths": all_paths(),
        "components": {"responses": error_replies(), "schemas": SCHEMAS, "securitySchemes": {
            "api-key": {"type": "apiKey", "in": "header", "name": "api-key"}, "bearer": {"type": "http", "scheme": "bearer"}}},
    }


def lines(value):
    """JSON with a line for each path and each schema, so that a change shows where it is."""
    short = lambda v: json.dumps(v, ensure_ascii=False, separators=(",", ":"))  # noqa: E731
    members = lambda v: "{\n" + ",\n".join('%s:%s' % (short(k), short(x)) for k, x in v.items()) + "\n}"  # noqa: E731
    out = dict(value)
    paths, components = members(out.pop("paths")), out.pop("components")
    schemas = members(components.pop("schemas"))
    return short(out)[:-1] + ',\n"paths":%s,\n"components":%s,"schemas":%s}}\n' % (paths, short(components)[:-1], schemas)


def main():
    with open(os.path.join(HERE, "..", "Makefile")) as makefile:
        version = next(line.split(":=")[1].strip() for line in makefile if line.startswith("VERSION :="))
    text = lines(document(version))
    path = os.path.join(HERE, "openapi.json")
    if "--check" in sys.argv:
        with open(path) as file:
            if file.read() != text:
                sys.exit("server/openapi.json is not what server/openapi.py makes: run make openapi")
        return
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
