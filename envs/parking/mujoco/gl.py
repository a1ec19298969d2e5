"""The few OpenGL objects that drawing needs.

Everything here belongs to the context that was current when it was made, and is freed with it.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.opengl import api

VERTEX = np.dtype([("position", "<f4", 3), ("colour", "u1", 4), ("coordinates", "<f4", 2)])


class DrawCalls:
    """The calls that are made for every camera of every picture, bound straight to the driver.

    PyOpenGL converts the arguments and asks for errors at every call, which took a tenth of a
    picture's time; here arguments are plain numbers and addresses.
    """

    def __init__(self) -> None:
        driver = importlib.import_module("OpenGL.platform").PLATFORM.GL
        number, address = ctypes.c_int, ctypes.c_void_p
        self.viewport = _bound(driver.glViewport, number, number, number, number)
        self.uniform_matrix = _bound(
            driver.glUniformMatrix4fv, number, number, ctypes.c_ubyte, address
        )
        self.draw = _bound(driver.glDrawArrays, number, number, number)
        self.draw_many = _bound(driver.glMultiDrawArrays, number, address, address, number)


def _bound(function: Any, *arguments: Any) -> Any:
    function.argtypes, function.restype = arguments, None
    return function


class Program:
    """A vertex and a fragment shader with one texture, drawing vertices of type `VERTEX`."""

    def __init__(self, vertex_shader: str, fragment_shader: str) -> None:
        gl = self._gl = api()
        self._program = gl.glCreateProgram()
        for kind, source in (
            (gl.GL_VERTEX_SHADER, vertex_shader),
            (gl.GL_FRAGMENT_SHADER, fragment_shader),
        ):
            shader = gl.glCreateShader(kind)
            gl.glShaderSource(shader, source)
            gl.glCompileShader(shader)
            if not gl.glGetShaderiv(shader, gl.GL_COMPILE_STATUS):
                raise RuntimeError(f"shader: {gl.glGetShaderInfoLog(shader)}")
            gl.glAttachShader(self._program, shader)
        for index, name in enumerate(VERTEX.names or ()):
            gl.glBindAttribLocation(self._program, index, name)
        gl.glLinkProgram(self._program)
        if not gl.glGetProgramiv(self._program, gl.GL_LINK_STATUS):
            raise RuntimeError(f"shader program: {gl.glGetProgramInfoLog(self._program)}")
        self._locations: dict[str, int] = {}

    def use(self) -> None:
        self._gl.glUseProgram(self._program)

    def location(self, name: str) -> int:
        """Location of a uniform."""
        if name not in self._locations:
            self._locations[name] = self._gl.glGetUniformLocation(self._program, name)
        return self._locations[name]


class VertexBuffer:
    """Triangles as an array of `VERTEX`, three a triangle."""

    def __init__(self) -> None:
        gl = self._gl = api()
        self._array, self._buffer = gl.glGenVertexArrays(1), gl.glGenBuffers(1)
        gl.glBindVertexArray(self._array)
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, self._buffer)
        fields: Mapping[str, Any] = VERTEX.fields or {}
        for index, (name, size, kind) in enumerate(
            (
                ("position", 3, gl.GL_FLOAT),
                ("colour", 4, gl.GL_UNSIGNED_BYTE),
                ("coordinates", 2, gl.GL_FLOAT),
            )
        ):
            offset = ctypes.c_void_p(fields[name][1])
            gl.glEnableVertexAttribArray(index)
            gl.glVertexAttribPointer(
                index, size, kind, kind == gl.GL_UNSIGNED_BYTE, VERTEX.itemsize, offset
            )

    def fill(self, vertices: NDArray[np.void]) -> None:
        """Replace the contents."""
        gl = self._gl
        gl.glBindBuffer(gl.GL_ARRAY_BUFFER, self._buffer)
        gl.glBufferData(gl.GL_ARRAY_BUFFER, vertices.nbytes, vertices, gl.GL_DYNAMIC_DRAW)

    def bind(self) -> None:
        self._gl.glBindVertexArray(self._array)


class Texture:
    """An RGB image, [H, W, 3]. `smooth` blends pixels and reduces; without, the nearest counts."""

    def __init__(self, smooth: bool) -> None:
        gl = self._gl = api()
        self._smooth = smooth
        self._texture = gl.glGenTextures(1)
        self.bind()
        # Blending between two reductions as well would cost a tenth of the drawing time.
        smaller = gl.GL_LINEAR_MIPMAP_NEAREST if smooth else gl.GL_NEAREST
        larger = gl.GL_LINEAR if smooth else gl.GL_NEAREST
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MIN_FILTER, smaller)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAG_FILTER, larger)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_WRAP_S, gl.GL_CLAMP_TO_EDGE)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE)

    def fill(self, image: NDArray[np.uint8]) -> None:
        """Replace the image."""
        gl = self._gl
        self.bind()
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        level = 0
        while True:
            height, width = image.shape[:2]
            gl.glTexImage2D(
                gl.GL_TEXTURE_2D,
                level,
                gl.GL_RGB8,
                width,
                height,
                0,
                gl.GL_RGB,
                gl.GL_UNSIGNED_BYTE,
                np.ascontiguousarray(image),
            )
            if not self._smooth or max(height, width) == 1:
                return
            # Halved here, several times faster than by a software driver.
            half = max(width // 2, 1), max(height // 2, 1)
            image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
            level += 1

    def bind(self) -> None:
        self._gl.glBindTexture(self._gl.GL_TEXTURE_2D, self._texture)


class DrawBuffer:
    """What is drawn into and read back: colour and a depth of 24 bits or more."""

    def __init__(self) -> None:
        gl = self._gl = api()
        self._framebuffer = gl.glGenFramebuffers(1)
        self._colour, self._depth = (int(name) for name in gl.glGenRenderbuffers(2))
        self._raw = np.empty((0, 0, 4), np.uint8)
        self.colour = np.empty((0, 0, 3), np.uint8)
        self.depth = np.empty((0, 0), np.float32)

    def resize(self, height: int, width: int) -> None:
        """Make the buffer of exactly this size: clearing and drawing cost by all of it."""
        gl = self._gl
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._framebuffer)
        for name, storage, attachment in (
            (self._colour, gl.GL_RGBA8, gl.GL_COLOR_ATTACHMENT0),
            (self._depth, gl.GL_DEPTH_COMPONENT32F, gl.GL_DEPTH_ATTACHMENT),
        ):
            gl.glBindRenderbuffer(gl.GL_RENDERBUFFER, name)
            gl.glRenderbufferStorage(gl.GL_RENDERBUFFER, storage, width, height)
            gl.glFramebufferRenderbuffer(gl.GL_FRAMEBUFFER, attachment, gl.GL_RENDERBUFFER, name)
        status = gl.glCheckFramebufferStatus(gl.GL_FRAMEBUFFER)
        if status != gl.GL_FRAMEBUFFER_COMPLETE:
            raise RuntimeError(f"OpenGL cannot draw into a {width} x {height} buffer ({status})")
        self._raw = np.empty((height, width, 4), np.uint8)
        self.colour = np.empty((height, width, 3), np.uint8)
        self.depth = np.empty((height, width), np.float32)

    def read(self) -> None:
        """Wait for the drawing and copy it into `colour` and `depth`, lowest row first."""
        gl = self._gl
        height, width = self.depth.shape
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        for kind, type_, array in (
            (gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, self._raw),
            (gl.GL_DEPTH_COMPONENT, gl.GL_FLOAT, self.depth),
        ):
            gl.glReadPixels(0, 0, width, height, kind, type_, ctypes.c_void_p(array.ctypes.data))
        # A driver drops the fourth channel four times slower.
        cv2.cvtColor(self._raw, cv2.COLOR_RGBA2RGB, dst=self.colour)
