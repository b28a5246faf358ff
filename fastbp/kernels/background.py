from . import objects


def ask(f):
    objects.addresses([f])


def address(f):
    if f in objects._addresses:
        return objects._addresses[f]
    found = objects._loaded([f])
    objects._addresses.update(found)
    return found.get(f)
